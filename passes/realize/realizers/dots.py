"""Which dot product of a target multiplies a layer's weights: the fastest that is exact for them.

Weights of at most 4 bits lie in memory at 2 or 4 bits. What an instruction may add up in a narrow dtype depends on
the weights and on the largest activation, so each layer has its own number of steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ....targets.row import DotInstruction, Extents, LaneSums, NarrowDot, TargetRow
from ...hub import arithmetic
from ...hub.lane_sums import fitted_to, largest_sums, runs_of
from ...hub.packing import STORED_BITS, pack_planes, stored_bits
from ...hub.parameters import bits_of
from ..compute.dots import Dot, Narrow, possible_steps
from .weights import Weight

MOST_STEPS = 64
"""More gain nothing."""

Arrange = Callable[[int, int], np.ndarray]
"""``(lanes, depth) -> weights (..., taps, lanes, depth)``, int8."""


@dataclass(frozen=True)
class Layout:
    """A dot product, and the weights as it takes them."""

    dot: Dot
    weights: np.ndarray


def lay_out(row: TargetRow, *args, **kwargs) -> Layout:
    """Return the fastest dot product of the target that is exact for these weights, and the weights for it."""
    found = _laid_out(row, *args, **kwargs)
    dot = dataclasses.replace(found.dot, any_extent=row.is_sample, merges_rows=row.merges_rows)
    return dataclasses.replace(found, dot=dot)


def _laid_out(
    row: TargetRow,
    weight: Weight,
    arrange: Arrange,
    taps: Callable[[int], Sequence[int]],
    merged: bool,
    bounds: tuple[int, int],
    rows: int | None = None,
    has_neighbours: bool = True,
) -> Layout:
    """Return the fastest dot product of the target that is exact for these weights, and the weights for it.

    Parameters
    ----------
    taps : ``depth -> extents`` of the loops of the sum.
    merged : as for ``lane_sums.runs_of``.
    bounds : the least and the largest that activations are, 0 between them.
    rows : of the kernel, where it is a matrix product.
    has_neighbours : the kernel can give the instruction neighbouring rows.
    """
    bits = stored_bits(bits_of(weight.values))
    is_fixed = row.extents is Extents.FIXED  # else all numbers of rows share one layout
    if bits < STORED_BITS[-1] and rows is not None and rows <= row.few_rows and is_fixed:
        return _in_registers(row, arrange, taps, bits)
    dot = _narrow(row.narrow_dot, arrange, taps, bounds) if row.narrow_dot is not None else None
    if dot is None and has_neighbours and (rows != 1 or not is_fixed):
        dot = _of_two_rows(row, taps)
    if dot is None and row.gpu is not None and bits < STORED_BITS[-1]:
        few = next(each for each in row.packed_dots if each.bits == bits)
        least, most = bounds
        fits = bits in row.gpu.matrix_bits and least >= 0 and most < 2**bits
        dot = Dot(few.lanes, few.depth, few.data_dtype, data_bits=bits if fits else 8)
    if dot is None:
        own = choose_dot(row, weight, merged)
        dot = Dot(own.lanes, own.depth, own.data_dtype, steps=own.steps)
    arranged = arrange(dot.lanes, dot.depth)
    if bits == STORED_BITS[-1]:
        return Layout(dot, arranged)
    packed = pack_planes(_flat(arranged, taps(dot.depth)), bits)
    return Layout(dataclasses.replace(dot, weight_bits=bits), packed)


def _of_two_rows(row: TargetRow, taps: Callable[[int], Sequence[int]]) -> Dot | None:
    """Return the fastest dot product of two rows of activations; None where there is none."""
    for own in row.matrix_dots:
        if taps(own.depth)[-1] % own.steps == 0:
            return Dot(own.lanes, own.depth, own.data_dtype, steps=own.steps, rows=2)
    return None


def choose_dot(row: TargetRow, weight: Weight, merged: bool) -> DotInstruction:
    """Return the fastest of the row's ``dots`` that is exact for these weights and any activations.

    ``merged`` as for ``lane_sums.runs_of``.
    """
    runs = runs_of(weight.values, weight.axis, merged)
    for dot in row.dots:
        sums = dot.lane_sums or LaneSums(0, dot.depth, steps=dot.steps)
        if fitted_to(runs, sums) == sums and (
            dot.lane_sums is None or largest_sums(runs, sums).max(initial=0) <= sums.limit
        ):
            return dot
    raise ValueError(f"{row.name} has no dot product for any weights")


def _narrow(
    own: NarrowDot, arrange: Arrange, taps: Callable[[int], Sequence[int]], bounds: tuple[int, int]
) -> Dot | None:
    """Return the dot product with narrow sums; None where too few steps fit them."""
    extents = taps(own.depth)
    flat = _flat(arrange(own.lanes, own.depth), extents)
    total = flat.shape[-3]
    limit = arithmetic.bounds_of(own.dtype)[1]
    for steps in possible_steps(extents, MOST_STEPS):
        if steps < own.fewest_steps and not 4 < steps == total:
            return None
        if _largest_sum(flat, own.parts, steps, bounds) <= limit:
            narrow = Narrow(own.dtype, own.parts, steps)
            return Dot(own.lanes, own.depth, own.data_dtype, narrow=narrow)
    return None


def _largest_sum(flat: np.ndarray, parts: int, steps: int, bounds: tuple[int, int]) -> int:
    """Return how large a narrow sum can be, for weights ``[..., steps, lanes, depth]`` and activations in bounds."""
    *_, total, lanes, depth = flat.shape
    split = flat.reshape(-1, total // steps, steps, lanes, parts, depth // parts)
    return int(arithmetic.largest_sums(split, (2, 5), bounds).max(initial=0))


def _in_registers(
    row: TargetRow, arrange: Arrange, taps: Callable[[int], Sequence[int]], bits: int
) -> Layout:
    """Return the fastest dot product that takes packed weights."""
    for own in row.packed_dots:
        if own.bits != bits:
            continue
        packed = pack_planes(_flat(arrange(own.lanes, own.depth), taps(own.depth)), bits)
        if packed.shape[-3] % own.words == 0:
            dot = Dot(own.lanes, own.depth, own.data_dtype, weight_bits=bits, words=own.words)
            return Layout(dot, packed)
    raise ValueError(f"{row.name} has no dot product of packed weights of {bits} bits")


def _flat(arranged: np.ndarray, taps: Sequence[int]) -> np.ndarray:
    """Return arranged weights with all taps as one axis."""
    *front, lanes, depth = arranged.shape
    return arranged.reshape(*front[: len(front) - len(taps)], -1, lanes, depth)
