"""Schedule of the kernels around an accumulator: convolution, matrix multiplication, depthwise convolution.

1. elementwise blocks behind the accumulator are inlined into the last of them, the result
2. the accumulator is tiled: chunk of rows, block of channels, register tile
3. the result is computed a register tile at a time, straight from the accumulator's registers
4. padding and widening of the input happen a chunk at a time, widening of weights a block of channels at a time
5. everything inside a register tile is unrolled; lanes are vectors; the inner product is an instruction

The tile, the chunk and what threads share are choices (``space.Decide``) for tuning to make otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm.s_tir import Schedule
from tvm.s_tir.schedule import LoopRV, SBlockRV

from ..passes.compute.annotations import KERNEL
from ..targets import intrinsics
from ..targets.rows import TargetRow
from . import tiles
from .blocks import (
    bytes_of,
    extent_of,
    extent_of_all,
    inline_elementwise,
    item_bytes,
    root_blocks,
    split_vector,
)
from .space import Decide, analytic

FAMILIES = ("contraction", "depthwise")


@dataclass(frozen=True)
class _Nest:
    """The accumulator's loops: spatial ones outside the rows, rows, channel blocks, lanes, and the reduction."""

    outer: list[LoopRV]
    rows: LoopRV
    blocks: LoopRV
    lane: LoopRV
    taps: list[LoopRV]
    depth: LoopRV | None


def schedule_contraction(sch: Schedule, row: TargetRow, threads: int, decide: Decide = analytic) -> str:
    """Schedule the function in place where it has one accumulator; return why not, or an empty string.

    Parameters
    ----------
    threads : how many threads the kernel is to keep busy.
    decide : makes the choices ``"tile"``, ``"chunk"`` and ``"share"``.
    """
    blocks = root_blocks(sch)
    found = [block for block in blocks if str(sch.get(block).annotations.get(KERNEL, "")) in FAMILIES]
    if len(found) != 1:
        return f"has {len(found)} accumulators, not one"
    position = blocks.index(found[0])
    sources, followers = blocks[:position], blocks[position + 1 :]
    rows, weights = _producer(sch, found[0], sources, -2), _producer(sch, found[0], sources, -1)
    for block in sources:
        if block is not rows and block is not weights:
            # Fused in from in front, for an elementwise block behind: a residual's dequantize, say.
            sch.compute_inline(block)
    result = inline_elementwise(sch, followers)
    _schedule(sch, rows, weights, found[0], result, row, threads, decide)
    return ""


def _producer(sch: Schedule, accumulator: SBlockRV, sources: list[SBlockRV], operand: int) -> SBlockRV | None:
    """Return the block that writes what the accumulator reads as its ``operand``; None for a parameter."""
    wanted = sch.get(accumulator).reads[operand].source
    return next((block for block in sources if sch.get(block).writes[0].source.same_as(wanted)), None)


def _schedule(
    sch: Schedule,
    rows: SBlockRV | None,
    weights: SBlockRV | None,
    accumulator: SBlockRV,
    result: SBlockRV,
    row: TargetRow,
    threads: int,
    decide: Decide,
) -> None:
    block = sch.get(accumulator)
    family = str(block.annotations[KERNEL])
    buffer = block.writes[0].source
    nest = _nest_of(sch, accumulator, len(buffer.shape), family)
    data_bytes, weight_bytes = [bytes_of(region.source) for region in block.reads][-2:]
    lanes = extent_of(sch, nest.lane)
    tile_rows, tile_blocks = decide(
        "tile", tiles.register_tiles(extent_of(sch, nest.rows), extent_of(sch, nest.blocks), lanes, row)
    )
    row_outer, row_inner = sch.split(nest.rows, [None, tile_rows])
    block_outer, block_inner = sch.split(nest.blocks, [None, tile_blocks])

    # Rows of one chunk share a pass over the weights: image rows, or register tiles of a matrix's rows.
    *outer, chunked = [*nest.outer, row_outer] if not nest.outer else nest.outer
    inner_rows = [row_outer] if nest.outer else []
    outer_extent, chunked_extent = extent_of_all(sch, outer), extent_of(sch, chunked)
    row_bytes = max(1, data_bytes // (outer_extent * chunked_extent))
    possible_chunks = tiles.chunks(
        *(chunked_extent, row_bytes, weight_bytes, extent_of(sch, block_outer)),
        *(outer_extent, threads, row),
    )
    chunk = decide("chunk", possible_chunks)
    chunk_outer, chunk_inner = sch.split(chunked, [None, chunk])
    depth = [nest.depth] if nest.depth is not None else []
    sch.reorder(
        *[*outer, chunk_outer, block_outer, chunk_inner, *inner_rows],
        *[*nest.taps, row_inner, block_inner, nest.lane, *depth],
    )
    tile_loop = inner_rows[0] if inner_rows else chunk_inner
    sch.reverse_compute_at(result, tile_loop, preserve_unit_loops=True)
    for loop in (block_outer, tile_loop):
        sch.annotate(loop, "pragma_loop_partition_hint", 1)

    is_small = extent_of_all(sch, sch.get_loops(accumulator)) < tiles.SERIAL_WORK
    chunks = outer_extent * (chunked_extent // chunk)
    enough = is_small or chunks >= threads or chunks >= extent_of(sch, block_outer)
    if decide("share", ("chunks", "blocks") if enough else ("blocks", "chunks")) == "chunks":
        parallel = sch.fuse(*outer, chunk_outer)
        rows_loop: LoopRV | None = parallel
    else:
        # For too few chunks: threads share the channel blocks, and the input is prepared once for all.
        sch.unannotate(block_outer, "pragma_loop_partition_hint")
        parallel = sch.fuse(*outer, chunk_outer, block_outer)
        rows_loop = None
    if rows is not None:
        _schedule_rows(sch, rows, rows_loop, row)
    if weights is not None:
        sch.compute_at(weights, block_outer if rows_loop is not None else parallel, preserve_unit_loops=True)
        *_, weight_lane, weight_depth = sch.get_loops(weights)
        sch.vectorize(sch.fuse(weight_lane, weight_depth))
    if not is_small:
        sch.parallel(parallel)

    is_integer = str(buffer.dtype) == "int32"
    instruction = _instruction(sch, accumulator, row) if family == "contraction" and is_integer else None
    *_, result_rows, result_channels = sch.get_loops(result)
    sch.unroll(result_rows)
    sch.unroll(split_vector(sch, result_channels, lanes))

    if instruction is None:
        # Before the initialisation is split off: a lone update is no reduction block that could be vectorized.
        for loop in depth:
            sch.reorder(loop, nest.lane)
            sch.unroll(loop)
        sch.vectorize(nest.lane)
    initial = sch.decompose_reduction(accumulator, nest.taps[0])
    *_, init_rows, init_blocks, init_lane = sch.get_loops(initial)
    if instruction is not None:
        sch.vectorize(init_lane)
        sch.tensorize(nest.lane, intrinsics.register(instruction))
    for loop in (init_rows, init_blocks, row_inner, block_inner):
        sch.unroll(loop)
    if family == "depthwise":
        for loop in nest.taps:
            sch.unroll(loop)


def _instruction(sch: Schedule, accumulator: SBlockRV, row: TargetRow) -> str | None:
    """Return the intrinsic of the dot product that the accumulator was laid out for."""
    data, weight = [region.source for region in sch.get(accumulator).reads][-2:]
    lanes, depth = (int(extent) for extent in weight.shape[-2:])
    for dot in row.dots:
        if (dot.lanes, dot.depth, dot.data_dtype) == (lanes, depth, str(data.dtype)):
            return dot.intrinsic if str(weight.dtype) == "int8" else dot.widened
    return None


def _nest_of(sch: Schedule, accumulator: SBlockRV, spatial: int, family: str) -> _Nest:
    loops = sch.get_loops(accumulator)
    *outer, rows, blocks, lane = loops[:spatial]
    if family == "depthwise":
        return _Nest(outer, rows, blocks, lane, loops[spatial:], None)
    *taps, depth = loops[spatial:]
    return _Nest(outer, rows, blocks, lane, taps, depth)


def _schedule_rows(sch: Schedule, rows: SBlockRV, loop: LoopRV | None, row: TargetRow) -> None:
    """Compute the padded, widened input at ``loop``, or once in parallel at the root."""
    if loop is not None:
        sch.compute_at(rows, loop, preserve_unit_loops=True)
    buffer = sch.get(rows).writes[0].source
    loops = sch.get_loops(rows)[-len(buffer.shape) :]
    split_vector(sch, loops[-1], row.vector_bits // (8 * item_bytes(buffer)))
    if loop is None:
        sch.parallel(sch.fuse(*loops[:-1]))
