"""Schedule of the kernels around an accumulator: convolution, matrix multiplication, depthwise convolution.

1. elementwise blocks behind the accumulator are inlined into the last of them, the result; from where one repeats it
   (one channel over many), blocks are loops of their own
2. the accumulator is tiled: chunk of rows, block of channels, register tile
3. the result is computed a register tile at a time, straight from the accumulator's registers
4. padding and widening of the input happen a chunk at a time, widening and unpacking of weights a block of channels at
   a time; sums in a narrow dtype, where there are such, between two steps of the accumulator
5. everything inside a register tile is unrolled; lanes are vectors; the inner product is an instruction

The tile, the chunk and what threads share are choices (``space.Decide``) for tuning to make otherwise.
"""

from __future__ import annotations

import math

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.s_tir.schedule import SBlockRV

from ...passes.realize.compute.annotations import BITS, HELD, INTO_ROWS, KERNEL, MERGED, NARROW, TAIL
from ...targets.row import TargetRow
from ..blocks import (
    bytes_of,
    extent_of,
    extent_of_all,
    inline_elementwise,
    item_bytes,
    root_blocks,
)
from ..space import Decide, analytic
from . import tiles
from .inputs import Inputs
from .loops import schedule_blocks
from .merged_rows import keeps_order, merge_rows
from .nest import Sums, nest_of
from .register_tile import (
    instruction_of,
    narrow_bits,
    tile_bits,
    tile_into_rows,
    tile_narrow,
    tile_result,
    tile_sums,
)

FAMILIES = ("contraction", "depthwise", "row groups")


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
    sources = blocks[:position]
    behind = blocks[position + 1 :]
    into_rows = next((block for block in behind if INTO_ROWS in sch.get(block).annotations), None)
    behind = [block for block in behind if block is not into_rows]
    followers, repeats = _split(sch, into_rows or found[0], behind)
    narrow = next((block for block in sources if NARROW in sch.get(block).annotations), None)
    sources = [block for block in sources if block is not narrow]
    inputs = Inputs.of(sch, narrow or found[0], sources)
    for block in sources:
        if not any(block is one for one in (inputs.rows, inputs.groups, inputs.weights)):
            # Fused in from in front, for an elementwise block behind: a residual's dequantize, say.
            sch.compute_inline(block)
    result = inline_elementwise(sch, followers)
    if (columns := _merged_columns(sch, found[0])) is not None:
        merge_rows(sch, result, columns)
    _schedule(sch, inputs, Sums(found[0], narrow, into_rows), result, row, threads, decide)
    schedule_blocks(sch, repeats, row)
    return ""


def _split(
    sch: Schedule, accumulator: SBlockRV, followers: list[SBlockRV]
) -> tuple[list[SBlockRV], list[SBlockRV]]:
    """Return the blocks that compute the kernel's result, and those behind, from the first that repeats it.

    Blocks that read nothing of the kernel, such as a residual's dequantize, are inlined. Where rows of several axes are
    merged, a block in another order of memory is not the kernel's own.
    """
    columns = _merged_columns(sch, accumulator)
    own: list[SBlockRV] = []
    repeats: list[SBlockRV] = []
    of_kernel = [sch.get(accumulator).writes[0].source]
    of_result: list[tirx.Buffer] = []
    of_repeats: list[tirx.Buffer] = []
    for block in followers:
        written = sch.get(block).writes[0].source
        read = [region.source for region in sch.get(block).reads]
        sizes = [bytes_of(buffer) // item_bytes(buffer) for buffer in of_kernel if _is_among(buffer, read)]
        is_larger = bool(sizes) and bytes_of(written) // item_bytes(written) > min(sizes)
        is_moved = columns is not None and not keeps_order(sch, block, of_result, columns)
        if is_larger or is_moved or any(_is_among(buffer, read) for buffer in of_repeats):
            repeats.append(block)
            of_repeats.append(written)
        elif sizes:
            own.append(block)
            of_kernel.append(written)
            if not _has_tiles(written, of_kernel[0]):
                of_result.append(written)
        else:
            sch.compute_inline(block)
    return own, repeats


def _merged_columns(sch: Schedule, accumulator: SBlockRV) -> int | None:
    """Return how long a row of the result is where rows of several axes are merged."""
    columns = sch.get(accumulator).annotations.get(MERGED)
    return None if columns is None else int(columns)


def _has_tiles(buffer: tirx.Buffer, accumulator: tirx.Buffer) -> bool:
    """Tell whether a buffer has the accumulator's axes, and not yet the result's."""
    return [int(extent) for extent in buffer.shape] == [int(extent) for extent in accumulator.shape]


def _is_among(buffer: tirx.Buffer, buffers: list[tirx.Buffer]) -> bool:
    return any(buffer.same_as(one) for one in buffers)


def _schedule(
    sch: Schedule,
    inputs: Inputs,
    sums: Sums,
    result: SBlockRV,
    row: TargetRow,
    threads: int,
    decide: Decide,
) -> None:
    accumulator = sums.accumulator
    block = sch.get(accumulator)
    family = str(block.annotations[KERNEL])
    nest = nest_of(sch, accumulator, len(block.writes[0].source.shape), family)
    read = sch.get(sums.of_products).reads[-2:]
    data_bytes, weight_bytes = [bytes_of(region.source) for region in read]
    if inputs.is_packed(sch):
        weight_bytes //= math.prod(int(extent) for extent in read[-1].source.shape[:-4])
    lanes = extent_of_all(sch, nest.lanes)
    is_float = str(block.writes[0].source.dtype) == "float32"
    lane_bits = 32 if sums.narrow is None else narrow_bits(sch, sums.narrow)
    if nest.rows_together > 1:
        held, row_cost = tiles.PAIRS_HELD, tiles.DEAR_ROW
    else:
        held, row_cost = int(block.annotations.get(HELD, 0)), tiles.DEAR_ROW if lane_bits > 32 else 1
    tile_rows, tile_blocks = decide(
        "tile",
        tiles.register_tiles(
            *(extent_of(sch, nest.rows), extent_of(sch, nest.blocks), lanes),
            *(row, extent_of_all(sch, nest.shared), nest.held_steps(sch)),
            lane_bits,
            sums.narrow is not None and TAIL in sch.get(sums.narrow).annotations,
            held,
            row_cost,
            is_float and family == "contraction",
        ),
    )
    row_outer, row_inner = sch.split(nest.rows, [None, tile_rows])
    block_outer, block_inner = sch.split(nest.blocks, [None, tile_blocks])

    # Rows of one chunk share a pass over the weights: image rows, or register tiles of a matrix's rows.
    by_rows = not nest.outer or inputs.is_packed(sch)
    *outer, chunked = [*nest.outer, row_outer] if by_rows else nest.outer
    inner_rows = [] if by_rows else [row_outer]
    outer_extent, chunked_extent = extent_of_all(sch, outer), extent_of(sch, chunked)
    row_bytes = max(1, data_bytes // (outer_extent * chunked_extent))
    possible_chunks = tiles.chunks(
        *(chunked_extent, row_bytes, weight_bytes, extent_of(sch, block_outer)),
        *(outer_extent, threads, row, inputs.unpacks(sch)),
    )
    chunk = decide("chunk", possible_chunks)
    chunk_outer, chunk_inner = sch.split(chunked, [None, chunk])
    depth = [nest.depth] if nest.depth is not None else []
    sch.reorder(
        *[*outer, chunk_outer, block_outer, chunk_inner, *inner_rows],
        *[*nest.taps, *nest.shared, row_inner, block_inner, *nest.steps, *nest.lanes, *depth],
    )
    if sums.narrow is not None:
        sch.compute_at(sums.narrow, nest.taps[-1], preserve_unit_loops=True)
    tile_loop = inner_rows[0] if inner_rows else chunk_inner
    if sums.into_rows is not None:
        sch.reverse_compute_at(sums.into_rows, tile_loop, preserve_unit_loops=True)
    sch.reverse_compute_at(result, tile_loop, preserve_unit_loops=True)
    for loop in (block_outer, tile_loop):
        sch.annotate(loop, "pragma_loop_partition_hint", 1)

    is_small = extent_of_all(sch, sch.get_loops(accumulator)) < tiles.SERIAL_WORK
    chunks = outer_extent * (chunked_extent // chunk)
    enough = is_small or chunks >= threads or chunks >= extent_of(sch, block_outer)
    by_chunks = decide("share", ("chunks", "blocks") if enough else ("blocks", "chunks")) == "chunks"
    if by_chunks:
        parallel = sch.fuse(*outer, chunk_outer)
    else:
        # For too few chunks: threads share the channel blocks, and the input is prepared once for all.
        sch.unannotate(block_outer, "pragma_loop_partition_hint")
        parallel = sch.fuse(*outer, chunk_outer, block_outer)
    inputs.place(
        sch, parallel if by_chunks else None, block_outer if by_chunks else parallel, chunks, row, decide
    )
    if not is_small:
        sch.parallel(parallel)
    if BITS in sch.get(result).annotations:
        tile_bits(sch, result)
    else:
        # LLVM keeps sums of floats as scalars where a vector of other than 2**n registers reads them.
        joined = 1 if is_float and tile_blocks.bit_count() > 1 else tile_blocks
        tile_result(sch, nest, result, joined)
    tile_sums(sch, nest, accumulator, (row_inner, block_inner), instruction_of(sch, sums, row, family))
    if sums.narrow is not None:
        tile_narrow(sch, sums.narrow, row)
    if sums.into_rows is not None:
        tile_into_rows(sch, sums.into_rows, row)
