"""The average of maxima: each sample's own ends, every sample counting alike.

high = mean over the samples of max x        low = mean of min x
"""

from __future__ import annotations

import numpy as np


class AverageMax:
    """The mean of the smallest and of the largest value of each sample."""

    def __init__(self, steps: int):
        self._low = self._high = 0.0
        self._count = 0

    def update(self, array: np.ndarray) -> None:
        self._low += min(float(array.min()), 0.0)
        self._high += max(float(array.max()), 0.0)
        self._count += 1

    def range(self) -> tuple[float, float]:
        count = max(self._count, 1)
        return self._low / count, self._high / count
