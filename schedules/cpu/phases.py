"""Schedule of blocks whose rows and columns take turns in what they read, such as gradients through strides.

    for h, w: f(h % s, w % s)    -->    for h, w in steps of s: f(0, 0); f(0, 1); f(1, 0); f(1, 1)

Conditions on the remainders are decided when the kernel is made; those on the ends of rows are left out between them.
"""

from __future__ import annotations

from tvm.s_tir import Schedule

from ...passes.realize.compute.annotations import PHASES
from ...targets.row import TargetRow
from ..blocks import (
    PARALLEL_WORK,
    extent_of_all,
    inline_elementwise,
    is_elementwise,
    root_blocks,
    split_vector,
)


def schedule_phases(sch: Schedule, row: TargetRow, threads: int) -> str:
    """Schedule the function in place where it has such a block; return why not, or an empty string."""
    blocks = root_blocks(sch)
    found = [sch.get(block).annotations[PHASES] for block in blocks if PHASES in sch.get(block).annotations]
    if len(found) != 1 or not all(is_elementwise(sch, block) for block in blocks):
        return "has no rows and columns that take turns"
    block = inline_elementwise(sch, blocks)
    loops = sch.get_loops(block)
    if len(loops) != 4:
        return "has a result that is no image"
    n, h, w, c = loops
    down, across = (int(stride) for stride in found[0])
    is_large = extent_of_all(sch, loops) >= PARALLEL_WORK
    h, row_phase = sch.split(h, [None, down])
    w, column_phase = sch.split(w, [None, across])
    sch.reorder(n, h, row_phase, w, column_phase, c)
    split_vector(sch, c, row.vector_bits // 32)
    for phase in (row_phase, column_phase):
        sch.unroll(phase)
    sch.annotate(w, "pragma_loop_partition_hint", 1)
    rows = sch.fuse(n, h)
    if is_large:
        sch.parallel(rows)
    return ""
