"""Schedules of functions whose extents are expressions: what no cut into fixed parts computes.

products of two activations : register tiles of fixed size, of whole tiles in padded rows and columns
rows                        : a row at a time in whole vectors, as for fixed extents
all else                    : outer loops in parallel, the innermost in vectors with a tail
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import ScheduleError
from tvm.s_tir.schedule import LoopRV, SBlockRV
from tvm.sym import Analyzer

from ...passes.hub.scopes import without_scopes
from ...passes.realize.compute.annotations import KERNEL, NARROW, ROWS
from ...passes.realize.compute.dots import ANY_BLOCKS, ANY_ROWS
from ...targets.row import TargetRow
from ..bits import bits_kernel
from ..blocks import (
    PARALLEL_WORK,
    extent_of,
    inline_elementwise,
    is_elementwise,
    is_fixed,
    item_bytes,
    root_blocks,
)
from ..cpu import rows as cpu_rows
from ..cpu.attention import attention_kernel
from ..cpu.inputs import Inputs
from ..cpu.nest import Sums, nest_of
from ..cpu.register_tile import instruction_of, tile_sums
from ..schedule import Schedule
from ..tables import table_kernel


def schedule_any(
    func: tirx.PrimFunc, row: TargetRow, bounds: Mapping[tirx.Var, tvm.ir.Range], threads: int
) -> tirx.PrimFunc:
    """Return the function scheduled by the first rule that applies; ``bounds`` are those of its variables."""
    most = {var: tirx.IntImm(var.ty, int(bound.min + bound.extent - 1)) for var, bound in bounds.items()}
    least = {var: bound.min for var, bound in bounds.items()}

    def greatest(extent: tirx.Expr) -> int:
        return _evaluated(extent, most)

    ready = (
        table_kernel(func, row, lambda extent: _evaluated(extent, least))
        or bits_kernel(func)
        or attention_kernel(func, row, threads, greatest)
    )
    if ready is not None:
        return ready
    for rule in (_products, _rows, _loops):
        sch = Schedule(func)
        try:
            if rule(sch, row, greatest):
                return without_scopes(sch.mod["main"]).with_attr("tirx.is_scheduled", True)
        except ScheduleError:
            continue
    return func


def is_made_whole(func: tirx.PrimFunc, row: TargetRow) -> bool:
    """Tell whether a function's code takes its tensors as they lie in memory, all of them at once."""
    return (
        table_kernel(func, row, lambda extent: row.look_ups[0].lanes) is not None
        or bits_kernel(func) is not None
    )


Size = Callable[[tirx.Expr], int]
"""The greatest that an extent can be."""


def _evaluated(extent: tirx.Expr, values: Mapping[tirx.Var, tirx.Expr]) -> int:
    return int(
        Analyzer().simplify(tvm_ffi.structural_map(extent, [(tvm.ir.Var, lambda var: values.get(var, var))]))
    )


def _products(sch: Schedule, row: TargetRow, size: Size) -> bool:
    blocks = root_blocks(sch)
    sums = [block for block in blocks if str(sch.get(block).annotations.get(KERNEL, "")) == "contraction"]
    if len(sums) != 1 or any(NARROW in sch.get(block).annotations for block in blocks):
        return False
    (accumulator,) = sums
    position = blocks.index(accumulator)
    inputs = Inputs.of(sch, accumulator, blocks[:position])
    if inputs.rows is None or (inputs.weights is not None and not inputs.is_packed(sch)):
        return False
    for block in blocks[:position]:
        if block is not inputs.rows and block is not inputs.weights:
            sch.compute_inline(block)
    result = inline_elementwise(sch, blocks[position + 1 :])
    nest = nest_of(sch, accumulator, len(sch.get(accumulator).writes[0].source.shape), "contraction")
    is_copied = _changes_dtype(sch, inputs.rows)
    if not is_copied:
        sch.compute_inline(inputs.rows)
    row_outer, row_inner = sch.split(nest.rows, [None, ANY_ROWS])
    is_odd = is_fixed(sch, nest.blocks) and extent_of(sch, nest.blocks) % ANY_BLOCKS
    block_outer, block_inner = sch.split(nest.blocks, [None, 1 if is_odd else ANY_BLOCKS])
    # Rows that are widened are so once for all columns; else a strip of columns stays in the first-level cache.
    tiles = [row_outer, block_outer] if is_copied else [block_outer, row_outer]
    depth = [nest.depth] if nest.depth is not None else []
    sch.reorder(*nest.outer, *tiles, *nest.taps, row_inner, block_inner, *nest.steps, *nest.lanes, *depth)
    sch.reverse_compute_at(result, tiles[1], preserve_unit_loops=True)
    shared, own = (nest.outer, tiles) if nest.outer else (tiles[:1], tiles[1:])
    for loop in own:
        sch.annotate(loop, "pragma_loop_partition_hint", 1)
    if is_copied:
        sch.compute_at(inputs.rows, row_outer, preserve_unit_loops=True)
        lanes = row.vector_bits // (8 * item_bytes(sch.get(inputs.rows).writes[0].source))
        _, vector = sch.split(sch.get_loops(inputs.rows)[-1], [None, lanes])
        sch.vectorize(vector)
    sch.parallel(sch.fuse(*shared))
    if inputs.weights is not None:
        _pack(sch, inputs.weights)
    *tile, channels = sch.get_loops(result)[-2:]
    outside, inside = sch.split(channels, [None, row.vector_bits // 32])
    sch.vectorize(inside)
    for loop in (*tile, outside):
        sch.unroll(loop)
    instruction = instruction_of(sch, Sums(accumulator, None, None), row, "contraction")
    tile_sums(sch, nest, accumulator, (row_inner, block_inner), instruction)
    return True


def _changes_dtype(sch: Schedule, rows: SBlockRV) -> bool:
    block = sch.get(rows)
    return str(block.reads[0].source.dtype) != str(block.writes[0].source.dtype)


def _pack(sch: Schedule, weights: SBlockRV) -> None:
    """Schedule the operand that is brought into the layout of weights: whole vectors, and the last columns apart."""
    *outer, columns, _, lane, step = sch.get_loops(weights)
    sch.annotate(columns, "pragma_loop_partition_hint", 1)
    sch.vectorize(sch.fuse(lane, step))
    if outer:
        sch.parallel(sch.fuse(*outer))


def _rows(sch: Schedule, row: TargetRow, size: Size) -> bool:
    blocks = root_blocks(sch)
    marked = [index for index, block in enumerate(blocks) if ROWS in sch.get(block).annotations]
    if not marked:
        return False
    lead = int(sch.get(blocks[marked[0]]).annotations[ROWS])
    for block in blocks[: marked[0]]:
        sch.compute_inline(block)
    result = inline_elementwise(sch, blocks[marked[-1] :])
    steps = [block for block in blocks[marked[0] : marked[-1]] if not cpu_rows.inlined(sch, block)]
    loops = sch.get_loops(result)
    if lead:
        rows = sch.fuse(*loops[:lead])
        for block in reversed(steps):
            sch.compute_at(block, rows, preserve_unit_loops=True)
        sch.parallel(rows)
    for block in steps:
        cpu_rows.vectorize(sch, block, lead)
    if loops[lead:]:
        _in_vectors(sch, loops[-1], row.vector_bits // 32)
    return True


def _loops(sch: Schedule, row: TargetRow, size: Size) -> bool:
    blocks = [block for block in root_blocks(sch) if not _inlined(sch, block)]
    for block in blocks:
        _schedule_block(sch, block, row, size)
    return True


def _inlined(sch: Schedule, block: SBlockRV) -> bool:
    if not is_elementwise(sch, block) or len(sch.get_consumers(block)) != 1:
        return False
    try:
        sch.compute_inline(block)
    except ScheduleError:
        return False
    return True


def _schedule_block(sch: Schedule, block: SBlockRV, row: TargetRow, size: Size) -> None:
    loops = sch.get_loops(block)
    kinds = [var.iter_type for var in sch.get(block).iter_vars]
    if not loops or len(kinds) != len(loops):
        return
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == tirx.IterVar.DataPar]
    reduced = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == tirx.IterVar.CommReduce]
    if not spatial or len(spatial) + len(reduced) != len(loops):
        return
    work = math.prod(size(sch.get(loop).extent) for loop in loops)
    lanes = row.vector_bits // (8 * item_bytes(sch.get(block).writes[0].source))
    *outer, last = spatial
    is_wide = isinstance(sch.get(last).extent, tirx.IntImm) and math.gcd(int(sch.get(last).extent), lanes) > 1
    if reduced and is_wide:
        outside, inside = sch.split(last, [None, math.gcd(int(sch.get(last).extent), lanes)])
        sch.reorder(*outer, outside, *reduced, inside)
        sch.vectorize(inside)
        _parallel(sch, [*outer, outside], work)
        initial = sch.decompose_reduction(block, reduced[0])
        sch.vectorize(sch.get_loops(initial)[-1])
    elif reduced:
        sch.reorder(*spatial, *reduced)
        _parallel(sch, spatial, work)
        sch.decompose_reduction(block, reduced[0])
    else:
        outside = _in_vectors(sch, last, lanes)
        _parallel(sch, outer or [outside], work)


def _in_vectors(sch: Schedule, loop: LoopRV, lanes: int) -> LoopRV:
    """Make vectors of a loop, and of what is left a loop of its own; return the loop over the vectors."""
    extent = sch.get(loop).extent
    if isinstance(extent, tirx.IntImm) and int(extent) < lanes:
        return loop
    outside, inside = sch.split(loop, [None, lanes])
    if not isinstance(extent, tirx.IntImm) or int(extent) % lanes:
        sch.annotate(outside, "pragma_loop_partition_hint", 1)
    sch.vectorize(inside)
    return outside


def _parallel(sch: Schedule, loops: list[LoopRV], work: int) -> None:
    fused = sch.fuse(*loops)
    if work >= PARALLEL_WORK:
        sch.parallel(fused)
