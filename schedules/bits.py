"""Bits are written many at a time: those of a kernel's result, and those that are made of floats.

    for byte: result[.., byte] = (accumulator[.., 8 byte] >= threshold[..]) | (accumulator[.., 8 byte + 1] >= ..) << 1
    -->
    result[.., all bytes] = one bit for each lane of (accumulator[.., all lanes] >= threshold[.., all lanes])

Vectors of conditions have no word in TVM; an LLVM function makes bytes of them. Hence this rewrite of scheduled
functions: as a tensor intrinsic it would not be found where the last register tile has fewer rows. What makes bits of
floats and nothing else needs no schedule: its code is here.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlock, SBlockRealize
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ..passes.hub.packing import ceil_div
from ..passes.realize.compute.annotations import BITS, KERNEL, THRESHOLD
from ..targets.bit_intrinsics import THRESHOLD_LANES, reached
from ..targets.bit_products import packed_byte
from .blocks import is_large, size_of


@tvm.transform.module_pass(opt_level=0, name="tvmq.WriteBits")
@dataclass(frozen=True)
class WriteBits:
    """Rewrite every scheduled function with a result marked ``BITS``."""

    def transform_module(self, mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
        """Return the module with whole blocks of bits."""
        mod = mod.clone()
        for var, func in mod.functions.items():
            if isinstance(func, tirx.PrimFunc):
                mod.update_func(var, write_bits(func))
        return mod


def write_bits(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the function with whole blocks of bits, where there is a function for as many lanes."""
    return func.with_body(tvm_ffi.structural_map(func.body, [(tirx.For, _rewritten)]))


def _rewritten(loop: tirx.For) -> tirx.For | SBlockRealize:
    realize = loop.body
    if not isinstance(realize, SBlockRealize) or BITS not in realize.block.annotations:
        return loop
    block, lanes = realize.block, int(realize.block.annotations[BITS])
    store = block.body
    if lanes not in THRESHOLD_LANES or int(loop.extent) * 8 != lanes:
        return loop
    byte = block.iter_vars[-1].var

    def at_start(index: tirx.Expr) -> tirx.Expr:
        return tvm_ffi.structural_map(
            index, [(tirx.Var, lambda var: tirx.IntImm(var.ty, 0) if var.same_as(byte) else var)]
        )

    accumulator, thresholds = _compared(store)
    reads, vectors = [], []
    for load in (accumulator, thresholds):
        *front, last = map(at_start, load.indices)
        vectors.append(tirx.BufferLoad(load.source, [*front, tirx.Ramp(last, 1, lanes)]))
        whole = [
            *(tvm.ir.Range.from_min_extent(place, 1) for place in front),
            tvm.ir.Range.from_min_extent(last, lanes),
        ]
        reads.append(tirx.BufferRegion(load.source, whole))
    *front, last = map(at_start, store.indices)
    written = tirx.BufferStore(store.buffer, reached(*vectors), [*front, tirx.Ramp(last, 1, lanes // 8)])
    region = [
        *(tvm.ir.Range.from_min_extent(place, 1) for place in front),
        tvm.ir.Range.from_min_extent(last, lanes // 8),
    ]
    whole_block = SBlock(
        block.iter_vars,
        reads,
        [tirx.BufferRegion(store.buffer, region)],
        block.name_hint,
        written,
        None,
        block.alloc_buffers,
        block.match_buffers,
        {},
    )
    values = [*realize.iter_values[:-1], tirx.IntImm(loop.loop_var.ty, 0)]
    return SBlockRealize(values, realize.predicate, whole_block)


def _compared(store: tirx.BufferStore) -> tuple[tirx.BufferLoad, tirx.BufferLoad]:
    """Return the accumulator and the threshold that the first bit of a byte compares."""
    found: list[tuple[tirx.BufferLoad, tirx.BufferLoad]] = []
    tvm_ffi.structural_walk(
        store.value,
        [
            (tirx.GE, lambda node: found.append((node.a, node.b))),
            (tirx.LE, lambda node: found.append((node.b, node.a))),
        ],
    )
    return found[0]


def bits_kernel(func: tirx.PrimFunc) -> tirx.PrimFunc | None:
    """Return the kernel that makes bits of floats with whole vectors; None where the function does anything else."""
    blocks: list[SBlock] = []
    tvm_ffi.structural_walk(func.body, [(SBlock, blocks.append)])
    marked = [block for block in blocks if str(block.annotations.get(KERNEL, "")) == "bits"]
    if len(func.params) != 2 or len(marked) != 1 or sum(bool(block.iter_vars) for block in blocks) != 1:
        return None
    shape = list(func.params[0].shape)
    made = _made(shape, float(marked[0].annotations[THRESHOLD].value))
    return made.with_attrs({**dict(func.attrs or {}), "tirx.is_scheduled": True})


def _made(shape: list[tirx.Expr], threshold: float) -> tirx.PrimFunc:
    """Return the kernel for float32 of this shape: vectors of bits, and what is left of a row one by one."""
    *front, channels = shape
    rows, channels = size_of(front), int(channels)
    count = ceil_div(channels, 8)
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        data = T.arg("data", T.buffer(shape, "float32"))
        result = T.arg("result", T.buffer([*front, count], "uint8"))
        source = T.decl_buffer((rows, channels), "float32", data=data.data)
        target = T.decl_buffer((rows, count), "uint8", data=result.data)
        loop = T.parallel if is_large(rows * channels) else T.serial
        with T.sblock("root"), loop(0, rows) as row:
            first = 0
            for lanes in THRESHOLD_LANES:
                vectors = (channels - first) // lanes
                if vectors:
                    with T.serial(0, vectors) as vector:
                        _store_bits(source, target, row, first + vector * lanes, lanes, threshold)
                first += vectors * lanes
            if first < channels:
                left = [source[row, channel] >= T.float32(threshold) for channel in range(first, channels)]
                T.buffer_store(target, packed_byte(left), [row, count - 1])
    return builder.get()


def _store_bits(
    source: tirx.Buffer, target: tirx.Buffer, row: tirx.Expr, place: tirx.Expr, lanes: int, threshold: float
) -> None:
    values = tirx.BufferLoad(source, [row, T.ramp(place, 1, lanes)])
    byte = place // 8
    index = byte if lanes == 8 else T.ramp(byte, 1, lanes // 8)
    T.buffer_store(target, reached(values, T.broadcast(T.float32(threshold), lanes)), [row, index])
