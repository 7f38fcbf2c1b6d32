"""Kernels that look up bytes in a table of 256: whole vectors by the target's instructions.

The last vector ends where the data end, so it may repeat some of what the one before it did.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlock
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ..passes.hub.packing import ceil_div
from ..passes.realize.compute.annotations import KERNEL
from ..targets.look_ups import LOOK_UPS
from ..targets.row import TargetRow
from .blocks import is_large, size_of


def table_kernel(
    func: tirx.PrimFunc, row: TargetRow, least: Callable[[tirx.Expr], int] = int
) -> tirx.PrimFunc | None:
    """Return the function with vectors; None where it does more than look up, or the target has no instruction.

    ``least`` returns how small an extent can be, where extents are open.
    """
    buffers = list(func.params)
    if (
        not row.look_ups
        or len(buffers) != 3
        or not {str(buffer.dtype) for buffer in buffers} <= {"uint8", "int8"}
    ):
        return None
    shape, lanes = list(buffers[0].shape), row.look_ups[0].lanes
    if math.prod(map(least, shape)) < lanes or _kinds(func) != ["table"]:
        return None
    dtype, entry_dtype = (str(buffer.dtype) for buffer in buffers[:2])
    made = _kernel(shape, dtype, entry_dtype, lanes, row.look_ups[0].name)
    return made.with_attrs({**dict(func.attrs or {}), "tirx.is_scheduled": True})


def _kinds(func: tirx.PrimFunc) -> list[str]:
    """Return the kernel family of each block with axes; empty for one that has none."""
    found: list[str] = []

    def note(block: SBlock) -> SBlock:
        if block.iter_vars:
            found.append(str(block.annotations.get(KERNEL, "")))
        return block

    tvm_ffi.structural_map(func, [(SBlock, note)])
    return found


def _kernel(shape: list[tirx.Expr], dtype: str, entry_dtype: str, lanes: int, name: str) -> tirx.PrimFunc:
    size, look_up = size_of(shape), LOOK_UPS[name]
    vectors, last = ceil_div(size, lanes), size - lanes
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        data = T.arg("data", T.buffer(shape, dtype))
        table = T.arg("table", T.buffer((256,), entry_dtype))
        result = T.arg("result", T.buffer(shape, entry_dtype))
        # Bytes by whatever name: what is looked up, the entries, and where they go.
        source, entries, target = (
            T.decl_buffer((extent,), "uint8", data=buffer.data)
            for extent, buffer in ((size, data), (256, table), (size, result))
        )
        with (T.parallel if is_large(size) else T.serial)(0, vectors) as vector:
            place = [T.ramp(T.min(vector * lanes, last), 1, lanes)]
            numbers = tirx.BufferLoad(source, place)
            if dtype == "int8":  # -128 has the first entry
                numbers = numbers ^ tirx.Broadcast(tirx.const(128, "uint8"), lanes)
            T.buffer_store(target, look_up(numbers, entries), place)
    return builder.get()
