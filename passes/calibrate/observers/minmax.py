"""Everything that was seen: nothing is clipped, and one outlier makes every step wider."""

from __future__ import annotations

import numpy as np


class MinMax:
    """``[min x, max x]`` over all samples."""

    def __init__(self, steps: int):
        self._low = self._high = 0.0

    def update(self, array: np.ndarray) -> None:
        self._low = min(self._low, float(array.min()))
        self._high = max(self._high, float(array.max()))

    def range(self) -> tuple[float, float]:
        return self._low, self._high
