"""Kernels that look up bytes in a table of 256: whole vectors by the target's instructions.

The last vector ends where the data end, so it may repeat some of what the one before it did.
"""

from __future__ import annotations

import math

import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlock
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ..passes.hub.packing import ceil_div
from ..passes.realize.compute.annotations import KERNEL
from ..targets.look_ups import LOOK_UPS
from ..targets.row import TargetRow
from .cpu.loops import PARALLEL_WORK


def table_kernel(func: tirx.PrimFunc, row: TargetRow) -> tirx.PrimFunc | None:
    """Return the function with vectors; None where it does more than look up, or the target has no instruction."""
    buffers = list(func.params)
    if not row.look_ups or len(buffers) != 3 or {str(buffer.dtype) for buffer in buffers} != {"uint8"}:
        return None
    shape, lanes = [int(extent) for extent in buffers[0].shape], row.look_ups[0].lanes
    if math.prod(shape) < lanes or _kinds(func) != ["table"]:
        return None
    made = _kernel(shape, lanes, row.look_ups[0].name)
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


def _kernel(shape: list[int], lanes: int, name: str) -> tirx.PrimFunc:
    size, look_up = math.prod(shape), LOOK_UPS[name]
    vectors, last = ceil_div(size, lanes), size - lanes
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        data = T.arg("data", T.buffer(shape, "uint8"))
        table = T.arg("table", T.buffer((256,), "uint8"))
        result = T.arg("result", T.buffer(shape, "uint8"))
        source = T.decl_buffer((size,), "uint8", data=data.data)
        target = T.decl_buffer((size,), "uint8", data=result.data)
        with (T.parallel if size >= PARALLEL_WORK else T.serial)(0, vectors) as vector:
            place = [T.ramp(T.min(vector * lanes, last), 1, lanes)]
            T.buffer_store(target, look_up(tirx.BufferLoad(source, place), table), place)
    return builder.get()
