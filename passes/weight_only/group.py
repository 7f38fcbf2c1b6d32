"""Float weights --> integers with one scale for each group of input channels.

    b >= 2    q = clamp(rint(w / s), -L, L)    L = 2^(b-1) - 1, and s as the weight observer finds it
    b = 1     q = sign(w)                      s = mean |w|, which is the closest: Rastegari et al., "XNOR-Net", 2016

Of 2 bits or more, some weights are rounded the other way for the sums of their kernels (``kernel_sums.py``).

A group is ``group_size`` input channels of one output channel with all their kernel positions; all of them where there
is no group size. Where that does not divide the channels, the last group has fewer.
"""

from __future__ import annotations

import numpy as np

from ..calibrate.observers import DEFAULT_WEIGHT_OBSERVER, get_weight_observer
from ..hub.codes import Grouped, step_and_low
from ..hub.parameters import weight_limit, weight_parameters
from .kernel_sums import to_switch


def grouped(
    weight: np.ndarray,
    axis: int,
    bits: int,
    group_size: int | None = None,
    per_channel: bool = True,
    observer: str | None = None,
    power_of_two: bool = False,
) -> Grouped:
    """Return the weights compressed.

    Parameters
    ----------
    weight : finite float32, OIHW or ``[K, N]``.
    axis : of the output channels, 0 or 1; that of the input channels is the other.
    group_size : input channels that share a scale; None for all.
    per_channel : else one scale for all weights.
    observer : key of ``WEIGHT_OBSERVERS``; None takes the default. Of 1 bit there is nothing to observe.
    """
    channels = weight.shape[1 - axis]
    size = min(group_size or channels, channels)
    parts = np.split(weight, range(size, channels, size), axis=1 - axis)
    scales = [_scales(part, axis, bits, per_channel, observer, power_of_two) for part in parts]
    shape = [1] * weight.ndim
    shape[axis], shape[1 - axis] = len(scales[0]), len(parts)
    table = np.stack(scales, axis=1 - axis).reshape(shape)
    along_all = np.repeat(table, size, axis=1 - axis).take(range(channels), axis=1 - axis)
    step, low = step_and_low(bits)
    if bits == 1:
        codes = weight >= 0.0
    else:
        limit = weight_limit(bits)
        wanted = weight / along_all
        integers = np.clip(np.rint(wanted), -limit, limit)
        if weight.ndim == 4:
            other = np.where(wanted > integers, np.ceil(wanted), np.floor(wanted)).clip(-limit, limit)
            integers = np.where(to_switch(integers, other, wanted), other, integers)
        codes = (integers - low) / step
    return Grouped(bits, codes.astype(np.uint16), table, size)


def _scales(
    part: np.ndarray, axis: int, bits: int, per_channel: bool, observer: str | None, power_of_two: bool
) -> np.ndarray:
    """Return the scales of one group of all output channels, float32 ``[O]`` or ``[1]``."""
    rows = np.moveaxis(part, axis, 0).reshape(part.shape[axis] if per_channel else 1, -1)
    if bits == 1:
        # A weight of 1 bit is the scale itself, which is what ``weight_parameters`` makes of 2 bits' largest magnitude.
        return weight_parameters(np.abs(rows).mean(axis=1, dtype=np.float64), 2, power_of_two)
    largest = get_weight_observer(observer or DEFAULT_WEIGHT_OBSERVER)(rows, weight_limit(bits))
    return weight_parameters(largest, bits, power_of_two)
