"""Which weights an instruction adds in saturating int16, and how large their sums may be.

``pmaddubsw`` takes activations in groups of four along a run of input numbers and adds two products each in int16. If
the int16 sums of several groups are added before they are widened, as many times more products meet in a lane:

    run        w0 w1 w2 w3 | w4 w5 w6 w7 | ...
    one group         {w0 w1} {w2 w3}
    two groups        {w0 w1 w4 w5} {w2 w3 w6 w7}

Activations are at most 255, so nothing saturates for any of them as long as ``255 * sum <= 32767`` for the weights of
one sign that meet: a sum of 128.
"""

from __future__ import annotations

import numpy as np
from tvm import relax

from .compute.packing import ceil_div, merges_columns
from .graph import op_name
from .parameters import MAX_BITS, next_power_of_two, quantize_weight

GROUP = 4
"""Activations that the instruction takes at a time."""


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


def takes_steps(runs: np.ndarray, steps: int) -> bool:
    """Tell whether runs have whole multiples of ``steps`` groups."""
    return ceil_div(runs.shape[-1], GROUP) % steps == 0


def largest_sums(runs: np.ndarray, steps: int = 1) -> np.ndarray:
    """Return for each output channel the largest sum by sign of integer weights that meet in a lane, int32 ``[O]``."""
    out_channels, count, numbers = runs.shape
    groups = ceil_div(numbers, GROUP)
    padded = np.pad(runs.astype(np.int32), ((0, 0), (0, 0), (0, groups * GROUP - numbers)))
    lanes = padded.reshape(out_channels, count, groups // steps, steps, GROUP // 2, 2)
    positive = np.maximum(lanes, 0).sum(axis=(3, 5))
    negative = np.minimum(lanes, 0).sum(axis=(3, 5))
    return np.maximum(positive, -negative).reshape(out_channels, -1).max(axis=1, initial=0)


def limit_sums(
    weight: np.ndarray,
    scale: np.ndarray,
    axis: int,
    limit: int,
    steps: int = 1,
    merged: bool = False,
    bits: int = MAX_BITS,
    power_of_two: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return float weights as int8 whose sums keep within ``limit``, and the scales, enlarged as far as needed.

    A channel's scale grows by what its worst sum exceeds the limit; where rounding up then still does, by further
    steps of 0.2 %; powers of two stay such. One scale for the whole tensor follows its worst channel. Runs that are no
    multiple of ``steps`` groups are limited group by group.
    """
    steps = steps if takes_steps(runs_of(weight, axis, merged), steps) else 1
    scale = scale.astype(np.float64)
    while True:
        integers = quantize_weight(weight, scale, axis, bits)
        excess = largest_sums(runs_of(integers, axis, merged), steps) / limit
        if len(scale) == 1:
            excess = excess.max(keepdims=True, initial=0)
        if (excess <= 1).all():
            return integers, scale.astype(np.float32)
        scale = np.where(excess > 1, scale * np.maximum(excess, 1.002), scale).astype(np.float32)
        scale = scale.astype(np.float64)
        scale = next_power_of_two(scale) if power_of_two else scale
