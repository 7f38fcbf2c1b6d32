"""An exponential average of each sample's ends, as quantization-aware training keeps it (Jacob et al., 2018, 3.1).

high <- m high + (1 - m) max x
"""

from __future__ import annotations

import numpy as np


class MovingAverage:
    """The average of the smallest and the largest value of each sample; the first sample starts it."""

    MOMENTUM = 0.95

    def __init__(self, steps: int):
        self._range: np.ndarray | None = None

    def update(self, array: np.ndarray) -> None:
        seen = np.array([min(array.min(), 0.0), max(array.max(), 0.0)], np.float64)
        if self._range is None:
            self._range = seen
        self._range = self.MOMENTUM * self._range + (1.0 - self.MOMENTUM) * seen

    def range(self) -> tuple[float, float]:
        low, high = (0.0, 0.0) if self._range is None else self._range
        return float(low), float(high)
