"""Weights whose integers go to and fro, and stay where they are most of the time once they do so too often.

    o_t     1 where an integer changes in the direction opposite to its last change, else 0
    f_t   = m o_t + (1 - m) f_(t-1)                    frequency;  frozen where f > threshold
    i_t   = m q_t + (1 - m) i_(t-1)                    the mean integer, which a frozen weight is rounded from

(Nagel et al., "Overcoming oscillations in quantization-aware training", 2022.)
"""

from __future__ import annotations

import numpy as np

MOMENTUM = np.float32(0.01)


class Oscillations:
    """What is known of a vector of weights in units of steps."""

    def __init__(self, places: np.ndarray, threshold: float):
        self._threshold = np.float32(threshold)
        self._last = np.rint(places)
        self._direction = np.zeros(places.size, np.int8)
        self._frequency = np.zeros(places.size, np.float32)
        self._mean = self._last.copy()
        self.frozen = np.zeros(places.size, bool)

    def update(self, places: np.ndarray) -> None:
        """Take in the weights after a step; those that are frozen now are moved, in place, and stay."""
        now = np.rint(places)
        change = np.sign(now - self._last).astype(np.int8)
        turned = (change != 0) & (change == -self._direction)
        self._frequency += MOMENTUM * (turned - self._frequency)
        self._mean += MOMENTUM * (now - self._mean)
        self._direction = np.where(change != 0, change, self._direction)
        self._last = now
        new = (self._frequency > self._threshold) & ~self.frozen
        if new.any():
            places[new] = np.rint(self._mean[new])
            self.frozen |= new

    def state(self) -> dict[str, np.ndarray]:
        """Return what a checkpoint keeps."""
        return {
            "last": self._last,
            "direction": self._direction,
            "frequency": self._frequency,
            "mean": self._mean,
            "frozen": self.frozen,
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what ``state`` returned."""
        self._last, self._direction = state["last"], state["direction"]
        self._frequency, self._mean, self.frozen = state["frequency"], state["mean"], state["frozen"]
