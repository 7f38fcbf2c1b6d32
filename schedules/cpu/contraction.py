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
from dataclasses import dataclass

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.s_tir.schedule import LoopRV, SBlockRV

from ...passes.realize.compute.annotations import BITS, KERNEL, NARROW, PACK, STEPS, TAIL, UNPACK, WORDS
from ...passes.realize.compute.bfloat16 import stored_dtype
from ...targets import intrinsics
from ...targets.row import TargetRow
from ..blocks import (
    bytes_of,
    extent_of,
    extent_of_all,
    inline_elementwise,
    item_bytes,
    root_blocks,
    split_vector,
)
from ..space import Decide, analytic
from . import tiles
from .loops import schedule_blocks

WHOLE_VECTORS = 4
"""A row of so many vectors is copied by whole ones, with a shorter one at the end, where no wide vector divides it."""

FAMILIES = ("contraction", "depthwise", "row groups")


@dataclass(frozen=True)
class _Nest:
    """The accumulator's loops: spatial ones outside the rows, rows, channel blocks, lanes, and the reduction.

    ``shared`` are further rows, all of one register tile: those that read the same input. ``steps`` are the groups that
    one instruction takes, where it takes several. ``unrolled`` says that the taps are few enough to be written out.
    """

    outer: list[LoopRV]
    shared: list[LoopRV]
    rows: LoopRV
    blocks: LoopRV
    lane: LoopRV
    taps: list[LoopRV]
    steps: list[LoopRV]
    depth: LoopRV | None
    unrolled: bool


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
    followers, repeats = _split(sch, found[0], blocks[position + 1 :])
    narrow = next((block for block in sources if NARROW in sch.get(block).annotations), None)
    sources = [block for block in sources if block is not narrow]
    inputs = _Inputs.of(sch, narrow or found[0], sources)
    for block in sources:
        if not any(block is one for one in (inputs.rows, inputs.groups, inputs.weights)):
            # Fused in from in front, for an elementwise block behind: a residual's dequantize, say.
            sch.compute_inline(block)
    result = inline_elementwise(sch, followers)
    _schedule(sch, inputs, _Sums(found[0], narrow), result, row, threads, decide)
    schedule_blocks(sch, repeats, row)
    return ""


def _split(
    sch: Schedule, accumulator: SBlockRV, followers: list[SBlockRV]
) -> tuple[list[SBlockRV], list[SBlockRV]]:
    """Return the blocks that compute the kernel's result, and those behind, from the first that repeats it.

    Blocks that read nothing of the kernel, such as a residual's dequantize, are inlined.
    """
    own: list[SBlockRV] = []
    repeats: list[SBlockRV] = []
    of_kernel = [sch.get(accumulator).writes[0].source]
    of_repeats: list[tirx.Buffer] = []
    for block in followers:
        written = sch.get(block).writes[0].source
        read = [region.source for region in sch.get(block).reads]
        sizes = [bytes_of(buffer) // item_bytes(buffer) for buffer in of_kernel if _is_among(buffer, read)]
        is_larger = bool(sizes) and bytes_of(written) // item_bytes(written) > min(sizes)
        if is_larger or any(_is_among(buffer, read) for buffer in of_repeats):
            repeats.append(block)
            of_repeats.append(written)
        elif sizes:
            own.append(block)
            of_kernel.append(written)
        else:
            sch.compute_inline(block)
    return own, repeats


def _is_among(buffer: tirx.Buffer, buffers: list[tirx.Buffer]) -> bool:
    return any(buffer.same_as(one) for one in buffers)


@dataclass(frozen=True)
class _Sums:
    """The blocks that add products up: the accumulator, and the narrow sums that it adds up where there are such."""

    accumulator: SBlockRV
    narrow: SBlockRV | None

    @property
    def of_products(self) -> SBlockRV:
        """The one that reads data and weights."""
        return self.narrow or self.accumulator


@dataclass(frozen=True)
class _Inputs:
    """The blocks that prepare what the accumulator reads; None where it is read as it comes."""

    rows: SBlockRV | None
    groups: SBlockRV | None
    weights: SBlockRV | None

    @classmethod
    def of(cls, sch: Schedule, sums: SBlockRV, sources: list[SBlockRV]) -> _Inputs:
        """Return those of the block that adds products up."""
        data, weights = (_producer(sch, sums, sources, operand) for operand in (-2, -1))
        if str(sch.get(sums).annotations.get(KERNEL, "")) != "row groups":
            return cls(data, None, weights)
        return cls(_producer(sch, data, sources, -1), data, weights)

    def is_packed(self, sch: Schedule) -> bool:
        """Tell whether the weights are an activation, of which each batch has its own."""
        return self.weights is not None and PACK in sch.get(self.weights).annotations

    def unpacks(self, sch: Schedule) -> bool:
        """Tell whether weights come packed."""
        return self.weights is not None and UNPACK in sch.get(self.weights).annotations

    def place(
        self,
        sch: Schedule,
        at_chunk: LoopRV | None,
        at_block: LoopRV,
        chunks: int,
        row: TargetRow,
        decide: Decide,
    ) -> None:
        """Compute the inputs where they are needed.

        Parameters
        ----------
        at_chunk : loop over the ``chunks``; None where threads share blocks instead.
        at_block : loop over the blocks of channels, inside.
        """
        if self.groups is not None:
            sch.compute_at(self.groups, at_block, preserve_unit_loops=True)
            # A pass over whole rows is faster, as long as they stay in the first-level cache or near it.
            near = bytes_of(sch.get(self.rows).writes[0].source) // chunks <= 2 * row.l1_bytes
            wanted = ("chunk", "block") if near else ("block", "chunk")
            by_chunk = at_chunk is not None and decide("pad", wanted) == "chunk"
            _schedule_rows(sch, self.rows, at_chunk if by_chunk else at_block, row)
            # Last: a block that has become an instruction can be no reader of another that is moved.
            sch.tensorize(sch.get_loops(self.groups)[-2], intrinsics.register(row.lane_dot.interleave))
        elif self.rows is not None:
            _schedule_rows(sch, self.rows, at_chunk, row)
        if self.is_packed(sch):
            *outer, lane, depth = sch.get_loops(self.weights)
            sch.vectorize(sch.fuse(lane, depth))
            sch.parallel(sch.fuse(*outer))
        elif self.weights is not None:
            self._place_weights(sch, at_block, row)

    def _place_weights(self, sch: Schedule, at_block: LoopRV, row: TargetRow) -> None:
        """Widen or unpack weights a block of channels at a time; all of them at once where they are few."""
        block = sch.get(self.weights)
        if not self.unpacks(sch) or bytes_of(block.writes[0].source) > row.l1_bytes // 2:
            sch.compute_at(self.weights, at_block, preserve_unit_loops=True)
        *_, step, lane, depth = sch.get_loops(self.weights)
        if self.unpacks(sch):
            # The steps of one word side by side: it is read once.
            _, plane = sch.split(step, [None, int(block.annotations[UNPACK])])
            sch.unroll(plane)
        sch.vectorize(sch.fuse(lane, depth))


def _producer(sch: Schedule, reader: SBlockRV, sources: list[SBlockRV], operand: int) -> SBlockRV | None:
    """Return the block that writes what another reads as its ``operand``; None for a parameter."""
    wanted = sch.get(reader).reads[operand].source
    return next((block for block in sources if sch.get(block).writes[0].source.same_as(wanted)), None)


def _schedule(
    sch: Schedule,
    inputs: _Inputs,
    sums: _Sums,
    result: SBlockRV,
    row: TargetRow,
    threads: int,
    decide: Decide,
) -> None:
    accumulator = sums.accumulator
    block = sch.get(accumulator)
    family = str(block.annotations[KERNEL])
    nest = _nest_of(sch, accumulator, len(block.writes[0].source.shape), family)
    read = sch.get(sums.of_products).reads[-2:]
    data_bytes, weight_bytes = [bytes_of(region.source) for region in read]
    if inputs.is_packed(sch):
        weight_bytes //= math.prod(int(extent) for extent in read[-1].source.shape[:-4])
    lanes = extent_of(sch, nest.lane)
    tile_rows, tile_blocks = decide(
        "tile",
        tiles.register_tiles(
            *(extent_of(sch, nest.rows), extent_of(sch, nest.blocks), lanes),
            *(row, extent_of_all(sch, nest.shared), extent_of_all(sch, nest.steps)),
            32 if sums.narrow is None else _narrow_bits(sch, sums.narrow),
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
        *[*nest.taps, *nest.shared, row_inner, block_inner, *nest.steps, nest.lane, *depth],
    )
    if sums.narrow is not None:
        sch.compute_at(sums.narrow, nest.taps[-1], preserve_unit_loops=True)
    tile_loop = inner_rows[0] if inner_rows else chunk_inner
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
        _tile_bits(sch, result)
    else:
        _tile_result(sch, nest, result, extent_of(sch, block_inner))
    _tile(sch, nest, accumulator, (row_inner, block_inner), _instruction(sch, sums, row, family))
    if sums.narrow is not None:
        _tile_narrow(sch, sums.narrow, row)


def _narrow_bits(sch: Schedule, narrow: SBlockRV) -> int:
    """Return the bits that a lane of the accumulator has in narrow sums."""
    buffer = sch.get(narrow).writes[0].source
    return 8 * item_bytes(buffer) * int(buffer.shape[-1])


def _tile_narrow(sch: Schedule, narrow: SBlockRV, row: TargetRow) -> None:
    """Unroll and vectorize the narrow sums of a register tile; the steps of the sum are a loop around them."""
    block = sch.get(narrow)
    spatial = len(block.writes[0].source.shape)
    loops = sch.get_loops(narrow)[-len(block.iter_vars) :]
    *_, lane, part = loops[:spatial]
    *steps, place = loops[spatial:]
    tile = [loop for loop in loops[: spatial - 2] if extent_of(sch, loop) > 1]
    single = extent_of_all(sch, [part, place]) == 1
    sch.reorder(*steps, *tile, *([part, place, lane] if single else [lane, part, place]))
    product = _narrow_product(sch, narrow, row)
    if product is None:
        sch.vectorize(lane)
    initial = sch.decompose_reduction(narrow, steps[0])
    *init_tile, init_lane, init_part = sch.get_loops(initial)[-len(tile) - 2 :]
    if product is not None:
        sch.vectorize(sch.fuse(init_lane, init_part))
        sch.tensorize(lane, intrinsics.register(product))
    for loop in (*init_tile, *tile):
        sch.unroll(loop)


def _narrow_product(sch: Schedule, narrow: SBlockRV, row: TargetRow) -> str | None:
    """Return the name of the intrinsic that adds products to narrow sums; None for plain code."""
    annotations = sch.get(narrow).annotations
    if TAIL in annotations:
        return row.bit_dot.look_up(int(annotations[TAIL]))
    return None if row.narrow_dot is None else row.narrow_dot.product


def _tile(
    sch: Schedule,
    nest: _Nest,
    accumulator: SBlockRV,
    inner: tuple[LoopRV, LoopRV],
    instruction: str | None,
) -> None:
    """Unroll and vectorize what a register tile does: start and sums."""
    shared = len(nest.shared)
    if instruction is None:
        # Before the initialisation is split off: a lone update is no reduction block that could be vectorized.
        if nest.depth is not None:
            sch.reorder(nest.depth, nest.lane)
            sch.unroll(nest.depth)
        for loop in nest.steps:
            sch.unroll(loop)
        sch.vectorize(nest.lane)
    initial = sch.decompose_reduction(accumulator, nest.taps[0])
    *init_loops, init_lane = sch.get_loops(initial)[-3 - shared :]
    if instruction is not None:
        sch.vectorize(init_lane)
        sch.tensorize([*nest.steps, nest.lane][0], instruction)
    for loop in (*init_loops, *nest.shared, *inner):
        sch.unroll(loop)
    if nest.unrolled:
        for loop in nest.taps:
            sch.unroll(loop)


def _tile_result(sch: Schedule, nest: _Nest, result: SBlockRV, blocks: int) -> None:
    """Unroll and vectorize the result of a register tile of so many blocks."""
    *rows, channels = sch.get_loops(result)[-2 - len(nest.shared) :]
    for loop in rows:
        sch.unroll(loop)
    lanes = extent_of(sch, nest.lane)
    if _ends_in_one_lane(sch, result, lanes):
        sch.unroll(channels)
    else:
        sch.unroll(split_vector(sch, channels, blocks * lanes))


def _tile_bits(sch: Schedule, result: SBlockRV) -> None:
    """Unroll the bits of a register tile, but for those of a block of channels (``schedules.bits``)."""
    *rows, _ = sch.get_loops(result)[-len(sch.get(result).iter_vars) :]
    for loop in rows:
        if extent_of(sch, loop) > 1:
            sch.unroll(loop)


def _ends_in_one_lane(sch: Schedule, result: SBlockRV, lanes: int) -> bool:
    """Tell whether the last vector of a narrowed result has one lane: LLVM 22 writes two bytes for it on AVX512.

    It makes a masked store of that lane, with the truncation before it, a store of the 16 bits that were truncated.
    """
    buffer = sch.get(result).writes[0].source
    return item_bytes(buffer) < 4 and int(buffer.shape[-1]) % lanes == 1


def _instruction(sch: Schedule, sums: _Sums, row: TargetRow, family: str) -> str | None:
    """Return the intrinsic of the dot product that the accumulator was laid out for, None for plain code."""
    if family == "depthwise":
        return None
    if sums.narrow is not None:
        plain = row.narrow_dot is None or TAIL in sch.get(sums.narrow).annotations
        name = None if plain else row.narrow_dot.widen
        return None if name is None else intrinsics.register(name)
    accumulator = sums.accumulator
    if str(sch.get(accumulator).writes[0].source.dtype) == "float32":
        return _float_instruction(sch, accumulator, row)
    if family == "row groups":
        return intrinsics.register(row.lane_dot.intrinsic)
    data, weight = [region.source for region in sch.get(accumulator).reads][-2:]
    lanes, depth = (int(extent) for extent in weight.shape[-2:])
    annotations = sch.get(accumulator).annotations
    if WORDS in annotations:
        planes, words = int(sch.get(accumulator).iter_vars[-2].dom.extent), int(annotations[WORDS])
        return next(
            intrinsics.register(dot.intrinsic) if dot.intrinsic is not None else None
            for dot in row.packed_dots
            if (8 // dot.bits, dot.words) == (planes, words)
        )
    wanted = lanes, depth, str(data.dtype), _steps_of(sch, accumulator)
    for dot in row.dots:
        if (dot.lanes, dot.depth, dot.data_dtype, dot.steps) == wanted:
            name = dot.intrinsic if str(weight.dtype) == "int8" else dot.widened
            return intrinsics.register(name) if name is not None else None
    return None


def _float_instruction(sch: Schedule, accumulator: SBlockRV, row: TargetRow) -> str | None:
    """Return the intrinsic of a product of floats; None for plain code."""
    data, weight = [region.source for region in sch.get(accumulator).reads][-2:]
    dot = row.float_dot
    wanted = stored_dtype(dot.data_dtype), stored_dtype(dot.weight_dtype)
    if dot.intrinsic is None or (str(data.dtype), str(weight.dtype)) != wanted:
        return None
    return intrinsics.register(dot.intrinsic)


def _steps_of(sch: Schedule, accumulator: SBlockRV) -> int:
    """Return how many groups an instruction takes."""
    return int(sch.get(accumulator).annotations.get(STEPS, 1))


def _nest_of(sch: Schedule, accumulator: SBlockRV, spatial: int, family: str) -> _Nest:
    loops = sch.get_loops(accumulator)
    *outer, rows, blocks, lane = loops[:spatial]
    if family == "depthwise":
        return _Nest(outer, [], rows, blocks, lane, loops[spatial:], [], None, True)
    *taps, depth = loops[spatial:]
    if family == "row groups":
        return _Nest(outer[:-1], outer[-1:], rows, blocks, lane, taps, [], depth, True)
    annotations = sch.get(accumulator).annotations
    if WORDS in annotations:
        word, plane = taps
        words, steps = int(annotations[WORDS]), [plane]
        if words > 1:
            word, *inner = sch.split(word, [None, words])
            steps = [*inner, plane]
        return _Nest(outer, [], rows, blocks, lane, [word], steps, depth, False)
    steps = _steps_of(sch, accumulator)
    if steps == 1:
        return _Nest(outer, [], rows, blocks, lane, taps, [], depth, False)
    step_outer, step_inner = sch.split(taps[-1], [None, steps])
    return _Nest(outer, [], rows, blocks, lane, [*taps[:-1], step_outer], [step_inner], depth, False)


def _schedule_rows(sch: Schedule, rows: SBlockRV, loop: LoopRV | None, row: TargetRow) -> None:
    """Compute the padded, widened input at ``loop``, or once in parallel at the root."""
    if loop is not None:
        sch.compute_at(rows, loop, preserve_unit_loops=True)
    buffer = sch.get(rows).writes[0].source
    loops = sch.get_loops(rows)[-len(buffer.shape) :]
    lanes, extent = row.vector_bits // (8 * item_bytes(buffer)), extent_of(sch, loops[-1])
    if 4 * math.gcd(extent, lanes) < lanes and extent >= WHOLE_VECTORS * lanes:
        whole, vector = sch.split(loops[-1], [None, lanes])
        # The last, shorter one becomes a loop of its own, and so do the first and the last where they meet padding.
        sch.annotate(whole, "pragma_loop_partition_hint", 1)
        sch.vectorize(vector)
    else:
        split_vector(sch, loops[-1], lanes)
    if loop is None:
        sch.parallel(sch.fuse(*loops[:-1]))
