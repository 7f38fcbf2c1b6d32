"""Outlier removal: values are cut off an end as long as that shortens the range by much more than their share.

    high = argmin over e of   e / max x + LEVERAGE * P(x > e)            likewise below zero

A tail of few values far out goes, whatever its share; the end of a dense distribution stays as it is. It is the
greedy removal of single extremes, as converters for small devices do it, solved over a histogram.
"""

from __future__ import annotations

import numpy as np

from ..histogram import BINS, Histogram


class OutlierRemoval:
    """What is left without the few values that stretch the range."""

    LEVERAGE = 500.0
    """How many times its own share of the values a tail must be of the range, to be cut."""

    def __init__(self, steps: int):
        self._histogram = Histogram()

    def update(self, array: np.ndarray) -> None:
        self._histogram.update(array)

    def range(self) -> tuple[float, float]:
        counts = self._histogram.counts
        low = self._end(-self._histogram.low, counts[BINS - 1 :: -1])
        return -low, self._end(self._histogram.high, counts[BINS:])

    def _end(self, largest: float, counts: np.ndarray) -> float:
        """Return the magnitude to keep, of counts by growing magnitude ``[BINS]``."""
        if largest == 0.0:
            return 0.0
        total = self._histogram.counts.sum()
        beyond = counts.sum() - np.cumsum(counts)
        edges = np.minimum(self._histogram.edges[BINS + 1 :], largest)
        return float(edges[np.argmin(edges / largest + self.LEVERAGE * beyond / total)])
