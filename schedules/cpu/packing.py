"""Schedule of the packing of weights that vary: [O, I, taps] --> [O/lanes, taps, I/depth, lanes, depth].

All lanes of a step are written out, each a run through the memory of its own channel, and steps follow each other: LLVM
makes shuffles of that. In the order of the result each vector would gather its lanes.
"""

from __future__ import annotations

from tvm.s_tir import Schedule

from ...passes.realize.compute.annotations import PACKED
from ...targets.row import TargetRow
from ..blocks import PARALLEL_WORK, extent_of_all, inline_elementwise, is_elementwise, root_blocks


def schedule_packing(sch: Schedule, row: TargetRow, threads: int) -> str:
    """Schedule the function in place where it only packs weights; return why not, or an empty string."""
    blocks = root_blocks(sch)
    marks = sch.get(blocks[-1]).annotations
    if PACKED not in marks or not all(is_elementwise(sch, block) for block in blocks):
        return "does not only pack weights"
    block = inline_elementwise(sch, blocks)
    *outer, step, lane, place = sch.get_loops(block)
    is_large = extent_of_all(sch, sch.get_loops(block)) >= PARALLEL_WORK
    front = int(marks[PACKED])
    outer, taps = outer[:front], outer[front:]
    sch.reorder(*outer, step, *taps, place, lane)
    sch.unroll(lane)
    if is_large:
        sch.parallel(sch.fuse(*outer))
    return ""
