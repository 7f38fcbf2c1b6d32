"""Schedule of functions that work row by row, such as softmax.

1. elementwise blocks behind the result are inlined into the last of them
2. all blocks are computed a row at a time, what else is a result too; rows run in parallel
3. the lanes of a vector are the innermost axis; a lane reduces its own part of a row
"""

from __future__ import annotations

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.s_tir.schedule import SBlockRV

from ...passes.realize.compute.annotations import ROWS
from ...targets.row import TargetRow
from ..blocks import extent_of_all, inline_elementwise, item_bytes, root_blocks
from .loops import PARALLEL_WORK


def schedule_rows(sch: Schedule, row: TargetRow, threads: int) -> str:
    """Schedule the function in place where its blocks are marked ``ROWS``; return why not, or an empty string."""
    blocks = root_blocks(sch)
    marked = [index for index, block in enumerate(blocks) if ROWS in sch.get(block).annotations]
    if not marked:
        return "has no rows"
    lead = int(sch.get(blocks[marked[0]]).annotations[ROWS])
    for block in blocks[: marked[0]]:
        sch.compute_inline(block)
    result = inline_elementwise(sch, blocks[marked[-1] :])
    before = blocks[marked[0] : marked[-1]]
    results = _results_among(sch, before)
    steps = [
        block for block in before if not any(block is one for one in results) and not inlined(sch, block)
    ]
    loops = sch.get_loops(result)
    work = extent_of_all(sch, loops) * max(extent_of_all(sch, sch.get_loops(block)[lead:]) for block in steps)
    if lead:
        rows = [sch.fuse(*sch.get_loops(block)[:lead]) for block in (*results, result)]
        of_all = sch.merge(*rows) if results else rows[0]
        for block in reversed(steps):
            sch.compute_at(block, of_all, preserve_unit_loops=True)
        if work >= PARALLEL_WORK:
            sch.parallel(of_all)  # first: a reduction in two blocks is none that TVM knows as one
    for block in steps:
        vectorize(sch, block, lead)
    own = loops[lead:]
    if extent_of_all(sch, own) > 1:
        lanes = row.vector_bits // (8 * item_bytes(sch.get(result).writes[0].source))
        groups, lane = sch.split(own[-1], [None, lanes])
        sch.annotate(groups, "pragma_loop_partition_hint", 1)
        sch.vectorize(lane)
    return ""


def _results_among(sch: Schedule, blocks: list[SBlockRV]) -> list[SBlockRV]:
    root = sch.get_sblock(sch.mod["main"].body.block.name_hint)
    found = [sch.get(block) for block in sch.get_output_blocks(root)]
    return [block for block in blocks if any(sch.get(block).same_as(one) for one in found)]


def inlined(sch: Schedule, block: SBlockRV) -> bool:
    """Inline a block that is no step by itself: what a step's own function is made of."""
    if ROWS in sch.get(block).annotations or ROWS in sch.get(sch.get_consumers(block)[0]).annotations:
        return False
    sch.compute_inline(block)
    return True


def vectorize(sch: Schedule, block: SBlockRV, lead: int) -> None:
    """Make vectors of a block: one lane each of what it computes, or of the parts that it reduces."""
    kinds = [var.iter_type for var in sch.get(block).iter_vars]
    own = kinds.count(tirx.IterVar.DataPar) - lead
    loops = sch.get_loops(block)
    if tirx.IterVar.CommReduce not in kinds:
        if own and len(loops) > 1:  # a number alone has a loop of one step
            sch.annotate(loops[-2], "pragma_loop_partition_hint", 1)
            sch.vectorize(loops[-1])
        return
    if not own:
        sch.decompose_reduction(block, loops[-1])
        sch.unroll(loops[-1])
        return
    lane, group = loops[-2:]
    sch.reorder(group, lane)
    sch.vectorize(lane)
    initial = sch.decompose_reduction(block, group)
    sch.vectorize(sch.get_loops(initial)[-1])
