"""A fixed share of the values, whatever they are: ``(1 - SHARE) / 2`` of them are cut at each end."""

from __future__ import annotations

import numpy as np

from ..histogram import BINS, Histogram


class Percentile:
    """What is left when the largest and the smallest values are cut."""

    SHARE = 0.9999

    def __init__(self, steps: int):
        self._histogram = Histogram()

    def update(self, array: np.ndarray) -> None:
        self._histogram.update(array)

    def range(self) -> tuple[float, float]:
        histogram = self._histogram
        total = histogram.counts.sum()
        if histogram.width == 0.0 or total == 0.0:
            return 0.0, 0.0
        cut = (1.0 - self.SHARE) / 2.0 * total
        below = np.cumsum(histogram.counts)
        low = histogram.edges[np.searchsorted(below, cut, side="right")]
        high = histogram.edges[min(int(np.searchsorted(below, total - cut, side="left")), 2 * BINS - 1) + 1]
        return max(float(min(low, 0.0)), histogram.low), min(float(max(high, 0.0)), histogram.high)
