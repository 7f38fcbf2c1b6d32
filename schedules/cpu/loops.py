"""Schedule of everything that is no kernel of its own: elementwise chains, pooling, reductions, softmax.

1. elementwise blocks with one reader are inlined into it
2. of each block that remains, the outer loops run in parallel and the innermost contiguous one as a vector
3. a row that is reduced is reduced by the lanes of a vector first, each its own part
"""

from __future__ import annotations

import math

from tvm import tirx
from tvm.s_tir import Schedule, ScheduleError
from tvm.s_tir.schedule import LoopRV, SBlockRV

from ...passes.realize.compute.annotations import FLAT
from ...targets.row import TargetRow
from ..blocks import PARALLEL_WORK, extent_of, is_elementwise, item_bytes, root_blocks
from .transposes import schedule_transpose


def schedule_loops(sch: Schedule, row: TargetRow, threads: int) -> str:
    """Schedule any function in place; always applies."""
    schedule_blocks(sch, root_blocks(sch), row)
    return ""


def schedule_blocks(sch: Schedule, blocks: list[SBlockRV], row: TargetRow) -> None:
    """Schedule the last blocks of a function in place."""
    remaining = [block for block in blocks if not _inlined(sch, block)]
    for block in remaining:
        _schedule_block(sch, block, row)


def _inlined(sch: Schedule, block: SBlockRV) -> bool:
    """Inline a block into its one reader where that is possible; tell whether it was."""
    if not is_elementwise(sch, block) or len(sch.get_consumers(block)) != 1:
        return False
    try:
        sch.compute_inline(block)
    except ScheduleError:
        return False  # read by an opaque block, or written in parts: it stays a loop of its own
    return True


def _schedule_block(sch: Schedule, block: SBlockRV, row: TargetRow) -> None:
    loops = sch.get_loops(block)
    kinds = [var.iter_type for var in sch.get(block).iter_vars]
    if not loops or len(kinds) != len(loops):
        return
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == tirx.IterVar.DataPar]
    reduction = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == tirx.IterVar.CommReduce]
    if not spatial or len(spatial) + len(reduction) != len(loops):
        return
    sizes = [sch.get(loop).extent for loop in loops]
    if not all(isinstance(size, tirx.IntImm) for size in sizes):
        return
    work = math.prod(int(size) for size in sizes)
    if work == 0:  # a tensor without elements: its loops cannot be fused
        return
    if reduction:
        _schedule_reduction(sch, block, spatial, reduction, row, work)
        return
    lanes = 2 * row.vector_bits // 32
    shared = schedule_transpose(sch, block, spatial, lanes)
    if shared:
        _parallel(sch, shared, work)
        return
    width = extent_of(sch, spatial[-1])
    if len(spatial) > 1 and width > 1 and _broadcasts(sch, block):
        lanes = min(lanes, width)
    elif width % lanes:
        if _stays_in_place(sch, block):
            sch.annotate(block, FLAT, 1)
        spatial = [sch.fuse(*spatial)]
        width = extent_of(sch, spatial[0])
        lanes = math.gcd(width, lanes)
    *outer, last = spatial
    outside, inside = sch.split(last, [None, lanes])
    if lanes > 1:
        sch.vectorize(inside)
    if width % lanes:
        sch.annotate(outside, "pragma_loop_partition_hint", 1)  # the last, shorter vector is one of its own
        _parallel(sch, outer, work)
    else:
        _parallel(sch, [*outer, outside], work)


def _stays_in_place(sch: Schedule, block: SBlockRV) -> bool:
    """Tell whether the block reads all tensors at the index that it writes to."""
    found = sch.get(block)
    places = [var.var for var in found.iter_vars]
    shape = [int(extent) for extent in found.writes[0].source.shape]

    def is_same(region: tirx.BufferRegion) -> bool:
        return [int(extent) for extent in region.source.shape] == shape and all(
            extent == 1 or part.min.same_as(place)
            for extent, part, place in zip(shape, region.region, places, strict=True)
        )

    return len(found.writes) == 1 and all(map(is_same, [*found.reads, *found.writes]))


def _broadcasts(sch: Schedule, block: SBlockRV) -> bool:
    """Tell whether the block reads something along some of its axes only, so that one loop over all would divide."""
    found = sch.get(block)
    shape = [int(extent) for extent in found.writes[0].source.shape]
    sizes = [math.prod(int(extent) for extent in region.source.shape) for region in found.reads]
    return any(1 < size < math.prod(shape) for size in sizes)


def _schedule_reduction(
    sch: Schedule, block: SBlockRV, spatial: list[LoopRV], reduction: list[LoopRV], row: TargetRow, work: int
) -> None:
    bits = 8 * item_bytes(sch.get(block).writes[0].source)
    lanes = math.gcd(extent_of(sch, spatial[-1]), 2 * row.vector_bits // bits)
    if lanes > 1 and _last_axis_is_spatial(sch, block):
        *outer, last = spatial
        outside, inside = sch.split(last, [None, lanes])
        sch.reorder(*outer, outside, *reduction, inside)
        sch.vectorize(inside)
        _parallel(sch, [*outer, outside], work)
        initial = sch.decompose_reduction(block, reduction[0])
        sch.vectorize(sch.get_loops(initial)[-1])
        return
    sch.reorder(*spatial, *reduction)
    rows = _parallel(sch, spatial, work)
    extent = extent_of(sch, reduction[-1])
    width = math.gcd(extent, 2 * row.vector_bits // bits)
    if width == extent:
        width //= 2  # a lane that sums up one number has no loop to be vectorized
    if width > 1 and _last_axis_is_reduced(sch, block):
        reduction = [_reduce_by_lanes(sch, block, rows, reduction, width)]
    sch.decompose_reduction(block, reduction[0])


def _last_axis_is_reduced(sch: Schedule, block: SBlockRV) -> bool:
    """Tell whether some input is read contiguously along the block's last reduced axis."""
    realized = sch.get(block)
    last = [var.var for var in realized.iter_vars if var.iter_type == tirx.IterVar.CommReduce][-1]
    return any(region.region and region.region[-1].min.same_as(last) for region in realized.reads)


def _reduce_by_lanes(
    sch: Schedule, block: SBlockRV, rows: LoopRV, reduction: list[LoopRV], width: int
) -> LoopRV:
    """Let each lane of a vector reduce its own part of a row; return the loop that reduces the lanes to one."""
    _, lane = sch.split(reduction[-1], [None, width])
    partial = sch.rfactor(lane, len(sch.get(block).writes[0].source.shape))
    sch.set_scope(partial, 0, "local")
    sch.compute_at(partial, rows)
    lane, *steps = sch.get_loops(partial)[-1 - len(reduction) :]
    sch.reorder(*steps, lane)
    sch.vectorize(lane)  # first: a lone update is no reduction that could be made vectors of
    initial = sch.decompose_reduction(partial, steps[0])
    sch.vectorize(sch.get_loops(initial)[-1])
    return sch.get_loops(block)[-1]


def _last_axis_is_spatial(sch: Schedule, block: SBlockRV) -> bool:
    """Tell whether every input is read contiguously along the block's last spatial axis, or not along it at all."""
    realized = sch.get(block)
    spatial = [var.var for var in realized.iter_vars if var.iter_type == tirx.IterVar.DataPar]
    return all(region.region and region.region[-1].min.same_as(spatial[-1]) for region in realized.reads)


def _parallel(sch: Schedule, loops: list[LoopRV], work: int) -> LoopRV:
    fused = sch.fuse(*loops)
    if work >= PARALLEL_WORK:
        sch.parallel(fused)
    return fused
