"""What happens inside a register tile: start, sums and result, unrolled and in vectors, by instructions."""

from __future__ import annotations

import math

from tvm.s_tir import Schedule
from tvm.s_tir.schedule import LoopRV, SBlockRV

from ...passes.realize.compute.annotations import MATRIX, NARROW, TAIL, WORDS
from ...passes.realize.compute.bfloat16 import stored_dtype
from ...targets import intrinsics
from ...targets.row import TargetRow
from ..blocks import extent_of, extent_of_all, is_fixed, item_bytes, split_vector
from .nest import Nest, Sums, steps_of

SHORT_RUN = 3
"""Groups that are written out: in a loop LLVM hands the registers of a tile round once a step."""


MANY_STEPS = 8
"""Groups a narrow sum from which on the accumulator may wait in memory for it."""


def narrow_bits(sch: Schedule, narrow: SBlockRV) -> int:
    """Return the bits that a lane of the accumulator has in registers: in narrow sums, and its own if it is needed."""
    block = sch.get(narrow)
    buffer = block.writes[0].source
    extents = [int(extent) for extent in block.annotations[NARROW]]
    first = len(buffer.shape)
    steps = [int(var.dom.extent) for var in block.iter_vars[first : first + len(extents)]]
    is_needed = math.prod(steps) < min(MANY_STEPS, math.prod(extents))
    return 8 * item_bytes(buffer) * int(buffer.shape[-1]) + (32 if is_needed else 0)


def tile_narrow(sch: Schedule, narrow: SBlockRV, row: TargetRow) -> None:
    """Unroll and vectorize the narrow sums of a register tile; the steps of the sum are a loop around them."""
    block = sch.get(narrow)
    spatial = len(block.writes[0].source.shape)
    loops = sch.get_loops(narrow)[-len(block.iter_vars) :]
    *_, lane, part = loops[:spatial]
    taps = len(block.annotations[NARROW])
    steps, places = loops[spatial : spatial + taps], loops[spatial + taps :]
    tile = [loop for loop in loops[: spatial - 2] if extent_of(sch, loop) > 1]
    is_single = extent_of_all(sch, [part, *places]) == 1
    sch.reorder(*steps, *tile, *([part, *places, lane] if is_single else [lane, part, *places]))
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


def tile_sums(
    sch: Schedule,
    nest: Nest,
    accumulator: SBlockRV,
    inner: tuple[LoopRV, LoopRV],
    instruction: str | None,
) -> None:
    """Unroll and vectorize what a register tile does: start and sums."""
    shared = len(nest.shared)
    if instruction is None:
        # Before the initialisation is split off: a lone update is no reduction block that could be vectorized.
        if nest.depth is not None:
            sch.reorder(nest.depth, *nest.lanes)
            sch.unroll(nest.depth)
        for loop in nest.steps:
            sch.unroll(loop)
        sch.vectorize(nest.lanes[0])
    initial = sch.decompose_reduction(accumulator, nest.taps[0])
    lanes = len(nest.lanes)
    loops = sch.get_loops(initial)[-2 - lanes - shared :]
    init_loops, init_lanes = loops[:-lanes], loops[-lanes:]
    if instruction is not None:
        sch.vectorize(sch.fuse(*init_lanes) if lanes > 1 else init_lanes[0])
        sch.tensorize([*nest.steps, *nest.lanes][0], instruction)
    for loop in (*init_loops, *nest.shared, *inner):
        sch.unroll(loop)
    *_, last = nest.taps
    is_short = instruction is not None and is_fixed(sch, last) and extent_of(sch, last) <= SHORT_RUN
    for loop in nest.taps if nest.unrolled else [last] if is_short else []:
        sch.unroll(loop)


def tile_result(sch: Schedule, nest: Nest, result: SBlockRV, blocks: int) -> None:
    """Unroll and vectorize the result of a register tile; ``blocks`` are those that a vector takes."""
    *rows, channels = sch.get_loops(result)[-2 - len(nest.shared) :]
    for loop in rows:
        sch.unroll(loop)
    lanes = extent_of_all(sch, nest.lanes) // nest.rows_together
    if _ends_in_one_lane(sch, result, lanes):
        sch.unroll(channels)
    else:
        sch.unroll(split_vector(sch, channels, blocks * lanes))


def tile_into_rows(sch: Schedule, into_rows: SBlockRV, row: TargetRow) -> None:
    """Bring a register tile of sums of two rows and two channels each into rows, by an instruction."""
    pairs, pair_row, blocks, _ = sch.get_loops(into_rows)[-4:]
    sch.reorder(pairs, blocks, pair_row)
    sch.tensorize(pair_row, intrinsics.register(row.matrix_dots[0].into_rows))
    for loop in (pairs, blocks):
        sch.unroll(loop)


def tile_bits(sch: Schedule, result: SBlockRV) -> None:
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


def instruction_of(sch: Schedule, sums: Sums, row: TargetRow, family: str) -> str | None:
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
    wanted = lanes, depth, str(data.dtype), steps_of(sch, accumulator)
    if MATRIX in annotations:
        return next(
            intrinsics.register(dot.intrinsic)
            for dot in row.matrix_dots
            if (dot.lanes, dot.depth, dot.data_dtype, dot.steps) == wanted
        )
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
