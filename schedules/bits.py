"""Bits of a kernel's result are written a block of channels at a time.

    for byte: result[.., byte] = (accumulator[.., 8 byte] >= threshold[..]) | (accumulator[.., 8 byte + 1] >= ..) << 1
    -->
    result[.., all bytes] = one bit for each lane of (accumulator[.., all lanes] >= threshold[.., all lanes])

Vectors of conditions have no word in TVM; an LLVM function makes bytes of them. Hence this rewrite of scheduled
functions: as a tensor intrinsic it would not be found where the last register tile has fewer rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlock, SBlockRealize

from ..passes.realize.compute.annotations import BITS
from ..targets.bit_intrinsics import LLVM_CODE, reached, threshold_function


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
    function, store = threshold_function(lanes), block.body
    if function not in LLVM_CODE or int(loop.extent) * 8 != lanes:
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
    written = tirx.BufferStore(
        store.buffer, reached(*vectors, function), [*front, tirx.Ramp(last, 1, lanes // 8)]
    )
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
