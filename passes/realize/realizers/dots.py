"""Which dot product of a target multiplies a layer's weights: the fastest that is exact for them.

Weights of at most 4 bits lie in memory at 2 or 4 bits. What an instruction may add up in a narrow dtype depends on
the weights and on the largest activation, so each layer has its own number of steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ....targets.row import DotInstruction, NarrowDot, TargetRow
from ...hub.arithmetic import bounds_of
from ...hub.lane_sums import largest_sums, runs_of, takes_steps
from ...hub.packing import STORED_BITS, pack_planes, stored_bits
from ...hub.parameters import bits_of
from ..compute.dots import Dot, Narrow, possible_steps
from .weights import Weight

FEWEST_STEPS = 8
"""From which on narrow sums are the fastest, or from all steps on that there are, if they are more than four."""


MOST_STEPS = 64
"""More gain nothing."""

Arrange = Callable[[int, int], np.ndarray]
"""``(lanes, depth) -> weights (..., taps, lanes, depth)``, int8."""


@dataclass(frozen=True)
class Layout:
    """A dot product, and the weights as it takes them."""

    dot: Dot
    weights: np.ndarray


def lay_out(
    row: TargetRow,
    weight: Weight,
    arrange: Arrange,
    taps: Callable[[int], Sequence[int]],
    merged: bool,
    largest: int,
    rows: int | None = None,
) -> Layout:
    """Return the fastest dot product of the target that is exact for these weights, and the weights for it.

    Parameters
    ----------
    taps : ``depth -> extents`` of the loops of the sum.
    merged : as for ``lane_sums.runs_of``.
    largest : what activations are at most.
    rows : of the kernel, where it is a matrix product.
    """
    bits = stored_bits(bits_of(weight.values))
    if bits < STORED_BITS[-1] and rows is not None and rows <= row.few_rows:
        return _in_registers(row, arrange, taps, bits)
    dot = _narrow(row.narrow_dot, arrange, taps, largest) if row.narrow_dot is not None else None
    if dot is None:
        own = choose_dot(row, weight, merged)
        dot = Dot(own.lanes, own.depth, own.data_dtype, steps=own.steps)
    arranged = arrange(dot.lanes, dot.depth)
    if bits == STORED_BITS[-1]:
        return Layout(dot, arranged)
    packed = pack_planes(_flat(arranged, taps(dot.depth)), bits)
    return Layout(dataclasses.replace(dot, weight_bits=bits), packed)


def choose_dot(row: TargetRow, weight: Weight, merged: bool) -> DotInstruction:
    """Return the fastest of the row's ``dots`` that is exact for these weights and any activations.

    ``merged`` as for ``lane_sums.runs_of``.
    """
    runs = runs_of(weight.values, weight.axis, merged)
    for dot in row.dots:
        if dot.lane_limit is None:
            return dot
        if takes_steps(runs, dot.steps) and largest_sums(runs, dot.steps).max(initial=0) <= dot.lane_limit:
            return dot
    raise ValueError(f"{row.name} has no dot product for any weights")


def _narrow(
    own: NarrowDot, arrange: Arrange, taps: Callable[[int], Sequence[int]], largest: int
) -> Dot | None:
    """Return the dot product with narrow sums; None where too few steps fit them."""
    extents = taps(own.depth)
    flat = _flat(arrange(own.lanes, own.depth), extents)
    total = flat.shape[-3]
    limit = bounds_of(own.dtype)[1]
    for steps in possible_steps(extents, MOST_STEPS):
        if steps < FEWEST_STEPS and not 4 < steps == total:
            return None
        if largest * _largest_sum(flat, own.parts, steps) <= limit:
            narrow = Narrow(own.dtype, own.parts, steps)
            return Dot(own.lanes, own.depth, own.data_dtype, narrow=narrow)
    return None


def _largest_sum(flat: np.ndarray, parts: int, steps: int) -> int:
    """Return the largest sum by sign of weights ``[..., steps, lanes, depth]`` that meet in a narrow sum."""
    *_, total, lanes, depth = flat.shape
    split = flat.reshape(-1, total // steps, steps, lanes, parts, depth // parts).astype(np.int32)
    return max(int(np.maximum(sign * split, 0).sum(axis=(2, 5)).max(initial=0)) for sign in (1, -1))


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
