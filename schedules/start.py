"""An accumulator that starts from its offset, and not from zero.

    accumulator = sum from 0;                               started = accumulator + offset[block * lanes + lane]
    -->
    accumulator = sum from offset[block * lanes + lane];    started = accumulator

A register is set to something at its start anyway, so the addition behind it is saved. Tensor expressions have no
word for it; hence this rewrite of the functions before they are scheduled.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlock

from ..passes.realize.compute.annotations import KERNEL, START


@tvm.transform.module_pass(opt_level=0, name="tvmq.StartFromOffset")
@dataclass(frozen=True)
class StartFromOffset:
    """Rewrite every function whose accumulator's offset is added in a block marked ``START``."""

    def transform_module(self, mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
        updated = {
            var: start_from_offset(func)
            for var, func in mod.functions.items()
            if isinstance(func, tirx.PrimFunc)
        }
        mod = mod.clone()
        for var, func in updated.items():
            mod.update_func(var, func)
        return mod


def start_from_offset(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the function with its accumulator's offset moved to the start; as it is where there is none to move."""
    found: dict[str, SBlock] = {}

    def note(block: SBlock) -> SBlock:
        found.update({kind: block for kind in (KERNEL, START) if kind in block.annotations})
        return block

    tvm_ffi.structural_map(func, [(SBlock, note)])
    if len(found) != 2:
        return func
    started = found[START].body
    accumulator, offset = started.value.a, started.value.b

    def rewrite(block: SBlock) -> SBlock:
        body, init = block.body, block.init
        if KERNEL in block.annotations:
            *_, index, lane = init.indices
            start = tirx.BufferLoad(offset.source, [index * int(init.buffer.shape[-1]) + lane])
            init = tirx.BufferStore(init.buffer, start, init.indices)
        elif START in block.annotations:
            body = tirx.BufferStore(started.buffer, accumulator, started.indices)
        else:
            return block
        return SBlock(
            *(block.iter_vars, block.reads, block.writes, block.name_hint, body, init),
            *(block.alloc_buffers, block.match_buffers, block.annotations),
        )

    return tvm_ffi.structural_map(func, [(SBlock, rewrite)])
