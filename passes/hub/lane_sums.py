"""Which weights an instruction adds in int16, and how large their sums may be (``targets.row.LaneSums``).

``pmaddubsw`` takes activations in groups of four along a run of input numbers and adds two products each in int16. If
the int16 sums of several groups are added before they are widened, as many times more products meet in a lane:

    run        w0 w1 w2 w3 | w4 w5 w6 w7 | ...
    one group         {w0 w1} {w2 w3}
    two groups        {w0 w1 w4 w5} {w2 w3 w6 w7}

Activations are at most 255, so nothing saturates for any of them as long as ``255 * sum <= 32767`` for the weights of
one sign that meet: a sum of 128. NEON's ``smlal`` takes groups of two activations from -128 to 127, and adds what meets
in a place: ``{w0 w2 w4 w6} {w1 w3 w5 w7}`` for four groups. As much for each sign is as safe there.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from tvm import relax

from ...targets.row import LaneSums
from .graph import op_name
from .packing import ceil_div, merges_columns
from .parameters import WEIGHT_LIMITS, along, next_power_of_two, quantize_weight

GROUP = 4
"""Activations that instructions take at a time, as far as merging columns goes."""
CANDIDATES = 12
"""Scales that are tried where rounding to nearest needs a larger one."""


def is_merged(call: relax.Call, weight: np.ndarray) -> bool:
    """Tell whether the kernel of a weighted operator takes columns and channels as one run."""
    if op_name(call) != "relax.nn.conv2d" or call.attrs.groups != 1:
        return False
    return merges_columns(weight.shape[1:], GROUP, int(call.attrs.dilation[1]))


def runs_of(weight: np.ndarray, axis: int, merged: bool = False) -> np.ndarray:
    """Return weights as (O, runs, numbers a run), in the order in which the instruction meets them.

    ``weight`` is OIHW with ``axis`` 0, or ``[K, N]`` with ``axis`` 1.
    """
    filters = np.moveaxis(weight, axis, 0)
    if filters.ndim == 2:
        return filters[:, None]
    out_channels, channels, height, width = filters.shape
    ordered = filters.transpose(0, 2, 3, 1)
    return ordered.reshape(out_channels, height if merged else height * width, -1)


def groups_of(runs: np.ndarray, sums: LaneSums) -> int:
    """Return how many groups a run has."""
    return ceil_div(runs.shape[-1], sums.depth)


def fitted_to(runs: np.ndarray, sums: LaneSums) -> LaneSums:
    """Return sums of as many steps as runs are whole multiples of."""
    return dataclasses.replace(sums, steps=math.gcd(groups_of(runs, sums), sums.steps))


def largest_sums(runs: np.ndarray, sums: LaneSums) -> np.ndarray:
    """Return for each output channel the largest sum by sign of integer weights that meet in a lane, int32 ``[O]``."""
    lanes = _in_lanes(runs.astype(np.int32), sums)
    positive = np.maximum(lanes, 0).sum(axis=(3, 5))
    negative = np.minimum(lanes, 0).sum(axis=(3, 5))
    return np.maximum(positive, -negative).reshape(len(runs), -1).max(axis=1, initial=0)


def _in_lanes(runs: np.ndarray, sums: LaneSums) -> np.ndarray:
    """Return runs ``[O, runs, numbers]`` as ``[O, runs, ., steps, parts, width]``, the last group filled by zeros."""
    out_channels, count, numbers = runs.shape
    groups = groups_of(runs, sums)
    padded = np.pad(runs, ((0, 0), (0, 0), (0, groups * sums.depth - numbers)))
    shape = (groups // sums.steps, sums.steps, sums.parts, sums.depth // sums.parts)
    return padded.reshape(out_channels, count, *shape)


def limit_sums(
    weight: np.ndarray,
    scale: np.ndarray,
    axis: int,
    sums: LaneSums,
    merged: bool = False,
    limits: tuple[int, int] = WEIGHT_LIMITS,
    power_of_two: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return float weights as int8 that keep within the limit of ``sums``, and the scales, enlarged where that helps.

    There are two ways to small sums: a larger scale, which costs the whole channel resolution, and smaller weights in
    the lanes that are beyond the limit, which costs those alone. Between the channel's own scale and the one at which
    rounding alone does, that of least squared error is taken. One scale for the whole tensor is chosen for all
    channels together; powers of two stay such. Runs of other lengths are limited for
    as many steps as they are multiples of.
    """
    sums = fitted_to(runs_of(weight, axis, merged), sums)
    widest = _wide_enough(weight, scale, axis, sums, merged, limits, power_of_two)
    lanes = _lanes(weight.shape, axis, sums, merged)
    chosen, integers = widest, quantize_weight(weight, widest, axis, limits)
    least = _squared_error(weight, integers, chosen, axis)
    for share in np.linspace(0.0, 1.0, CANDIDATES, endpoint=False) if (widest > scale).any() else ():
        candidate = scale * (widest / scale) ** share
        candidate = (next_power_of_two(candidate) if power_of_two else candidate).astype(np.float32)
        found = _fitted(weight / along(candidate, axis, weight.ndim), lanes, sums.limit, limits)
        error = _squared_error(weight, found, candidate, axis)
        better = error < least
        least, chosen = np.where(better, error, least), np.where(better, candidate, chosen)
        integers = np.where(along(better, axis, weight.ndim), found, integers)
    return integers, chosen


def _wide_enough(
    weight: np.ndarray,
    scale: np.ndarray,
    axis: int,
    sums: LaneSums,
    merged: bool,
    limits: tuple[int, int],
    power_of_two: bool,
) -> np.ndarray:
    """Return the scales, float32, enlarged until weights rounded to nearest keep within the limit.

    A channel's scale grows by what its worst sum exceeds the limit; where rounding up then still does, by further
    steps of 0.2 %.
    """
    while True:
        runs = runs_of(quantize_weight(weight, scale, axis, limits), axis, merged)
        excess = largest_sums(runs, sums) / sums.limit
        if len(scale) == 1:
            excess = excess.max(keepdims=True, initial=0)
        if (excess <= 1).all():
            return scale
        scale = np.where(excess > 1, scale * np.maximum(excess, 1.002), scale)
        scale = (next_power_of_two(scale) if power_of_two else scale).astype(np.float32)


def _lanes(shape: tuple[int, ...], axis: int, sums: LaneSums, merged: bool) -> np.ndarray:
    """Return the weights that meet in each lane, ``[lanes, .]``: places in the tensor from 1 on, 0 for none."""
    runs = runs_of(np.arange(1, math.prod(shape) + 1).reshape(shape), axis, merged)
    lanes = _in_lanes(runs, sums).swapaxes(3, 4)
    return lanes.reshape(-1, lanes.shape[-2] * lanes.shape[-1])


def _fitted(weight: np.ndarray, lanes: np.ndarray, limit: int, limits: tuple[int, int]) -> np.ndarray:
    """Return weights, in multiples of their scales, as int8; those of lanes beyond the limit are made smaller."""
    low, high = limits
    integers = np.clip(np.rint(weight), low, high).astype(np.int8)
    flat = integers.reshape(-1)
    for sign, bound in ((1, high), (-1, -low)):
        largest = np.append(np.int16(0), np.maximum(sign * flat.astype(np.int16), 0))
        beyond = lanes[largest[lanes].sum(axis=1) > limit]
        exact = np.append(0.0, np.clip(sign * weight.reshape(-1), 0, bound))[beyond]
        flat[beyond[exact > 0] - 1] = sign * _within(exact, limit)[exact > 0]
    return integers


def _within(values: np.ndarray, limit: int) -> np.ndarray:
    """Return integers ``[n, m]``, none below 0, near ``values``, with sums of at most ``limit``, which those exceed.

    The nearest point of the simplex (Duchi et al., "Efficient projections onto the l1-ball", 2008), rounded so that
    no sum passes the limit.
    """
    descending = -np.sort(-values, axis=1)
    shifts = (np.cumsum(descending, axis=1) - limit) / np.arange(1, values.shape[1] + 1)
    last = (descending > shifts).sum(axis=1, keepdims=True) - 1
    nearest = np.maximum(values - np.take_along_axis(shifts, last, axis=1), 0)
    rounded = np.rint(nearest)
    while True:
        rows = np.flatnonzero(rounded.sum(axis=1) > limit)
        if not rows.size:
            return rounded
        rounded[rows, np.argmax(rounded[rows] - nearest[rows], axis=1)] -= 1


def _squared_error(weight: np.ndarray, integers: np.ndarray, scale: np.ndarray, axis: int) -> np.ndarray:
    """Return the squared error for each scale, float64."""
    error = integers * along(scale.astype(np.float64), axis, weight.ndim) - weight
    return np.square(np.moveaxis(error, axis, 0).reshape(len(scale), -1)).sum(axis=1)
