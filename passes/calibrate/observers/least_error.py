"""The range whose quantization error is smallest in the mean of its p-th power, over a histogram.

For a range [l, h] with step d = (h - l) / steps the error of a value x is

    |x - l|^p below l,  |x - h|^p above h,  |x|^p within d / 2 of zero,  d^p / ((p + 1) 2^p) on average elsewhere

- p = 2, the mean squared error.
- p = 1, the earth mover's distance between the values' distribution and that of the integers: the quantizer never
  turns the order of two values round, so the cheapest way to move the one onto the other is to quantize, and that
  costs the mean of |x - q(x)| (on a line, Villani, 2003, section 2.2).
- Larger p mind the clipped values more; the loss-aware search starts from several (Nahshan et al., 2019).
"""

from __future__ import annotations

import numpy as np

from ..histogram import BINS, Histogram

CANDIDATES = 96
"""Ends that are tried on each side of zero."""

SMALLEST = 0.05
"""The smallest end that is tried, as a share of the largest value."""


def least_error_range(histogram: Histogram, steps: int, power: float) -> tuple[float, float]:
    """Return the range ``low <= 0 <= high`` whose error's ``power``-th power is least on average."""
    if histogram.width == 0.0:
        return 0.0, 0.0
    shares = np.linspace(SMALLEST, 1.0, CANDIDATES)
    lows = histogram.low * shares if histogram.low < 0.0 else np.zeros(1)
    highs = histogram.high * shares if histogram.high > 0.0 else np.zeros(1)
    counts, centers = histogram.counts, histogram.centers
    clipped_low = np.maximum(lows[:, None] - centers[:BINS], 0.0) ** power @ counts[:BINS]
    clipped_high = np.maximum(centers[BINS:] - highs[:, None], 0.0) ** power @ counts[BINS:]
    count_before = np.concatenate(([0.0], np.cumsum(counts)))
    power_before = np.concatenate(([0.0], np.cumsum(counts * np.abs(centers) ** power)))
    low_places, high_places = histogram.places(lows)[:, None], histogram.places(highs)[None, :]
    step = (highs[None, :] - lows[:, None]) / steps
    first = np.maximum(histogram.places(-step / 2.0), low_places)
    last = np.minimum(histogram.places(step / 2.0), high_places)
    inside = count_before[high_places] - count_before[low_places] - (count_before[last] - count_before[first])
    errors = clipped_low[:, None] + clipped_high[None, :] + power_before[last] - power_before[first]
    errors += inside * step**power / ((power + 1.0) * 2.0**power)
    best = np.unravel_index(np.argmin(errors), errors.shape)
    return float(lows[best[0]]), float(highs[best[1]])


class _LeastError:
    POWER: float

    def __init__(self, steps: int):
        self._steps = steps
        self._histogram = Histogram()

    def update(self, array: np.ndarray) -> None:
        self._histogram.update(array)

    def range(self) -> tuple[float, float]:
        return least_error_range(self._histogram, self._steps, self.POWER)


class MeanSquaredError(_LeastError):
    """The range of the least mean squared error."""

    POWER = 2.0


class EarthMover(_LeastError):
    """The range of the least earth mover's distance."""

    POWER = 1.0
