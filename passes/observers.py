"""Observers watch a tensor over the calibration samples and say which range of it to represent.

Each is one class with ``update(array)``, called with the tensor's value for each sample, and ``range()``,
which returns ``(low, high)``. All work in one pass and constant memory. A new one is a class and a row in
``OBSERVERS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..errors import unknown
from .histogram import BINS, Histogram


class Observer(Protocol):
    """What ``Calibrate`` asks of an observer; ``steps`` (255 for 8 bits) are given when it is made."""

    def update(self, array: np.ndarray) -> None:
        """Take in the tensor's value for one sample: finite floats of any shape."""

    def range(self) -> tuple[float, float]:
        """Return the range to represent, low <= 0 <= high."""


class MinMax:
    """Everything that was seen."""

    def __init__(self, steps: int):
        self._low = self._high = 0.0

    def update(self, array: np.ndarray) -> None:
        self._low = min(self._low, float(array.min()))
        self._high = max(self._high, float(array.max()))

    def range(self) -> tuple[float, float]:
        return self._low, self._high


class MovingAverage:
    """An exponential average of each sample's smallest and largest value; the first one starts it."""

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


class Percentile:
    """What is left when ``(1 - SHARE) / 2`` of the values are cut at each end."""

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
        edges = np.arange(-BINS, BINS + 1) * histogram.width
        low = edges[np.searchsorted(below, cut, side="right")]
        high = edges[np.searchsorted(below, total - cut, side="left") + 1]
        return max(float(min(low, 0.0)), histogram.low), min(float(max(high, 0.0)), histogram.high)


class MeanSquaredError:
    """The range whose quantization error is smallest in the mean square, over a histogram.

    For a range [l, h] with step d = (h - l) / steps the error of a value x is (x - l)^2 below, (x - h)^2
    above, d^2 / 12 on average inside, and x^2 within d / 2 of zero, where the step at zero rounds it off.
    """

    CANDIDATES = 96
    SMALLEST = 0.05

    def __init__(self, steps: int):
        self._steps = steps
        self._histogram = Histogram()

    def update(self, array: np.ndarray) -> None:
        self._histogram.update(array)

    def range(self) -> tuple[float, float]:
        histogram = self._histogram
        if histogram.width == 0.0:
            return 0.0, 0.0
        shares = np.linspace(self.SMALLEST, 1.0, self.CANDIDATES)
        lows = histogram.low * shares if histogram.low < 0.0 else np.zeros(1)
        highs = histogram.high * shares if histogram.high > 0.0 else np.zeros(1)
        errors = self._errors(lows[:, None], highs[None, :])
        best = np.unravel_index(np.argmin(errors), errors.shape)
        return float(lows[best[0]]), float(highs[best[1]])

    def _errors(self, lows: np.ndarray, highs: np.ndarray) -> np.ndarray:
        """Return the summed squared error for each pair of the broadcast arrays."""
        histogram = self._histogram
        centers = histogram.centers
        # Sums over all bins before a bin: S[k] = sum of count * center^k, with a leading zero.
        sums = [np.concatenate(([0.0], np.cumsum(histogram.counts * centers**power))) for power in range(3)]

        def place(value: np.ndarray) -> np.ndarray:
            return np.clip(np.rint(value / histogram.width).astype(int) + BINS, 0, 2 * BINS)

        def squared_distance(first: np.ndarray, last: np.ndarray, point: np.ndarray) -> np.ndarray:
            zeroth, one, two = (total[last] - total[first] for total in sums)
            return two - 2.0 * point * one + point**2 * zeroth

        step = (highs - lows) / self._steps
        start, end = np.zeros_like(place(lows)), np.full_like(place(highs), 2 * BINS)
        clipped = squared_distance(start, place(lows), lows) + squared_distance(place(highs), end, highs)
        near_low = np.maximum(place(-step / 2.0), place(lows))
        near_high = np.minimum(place(step / 2.0), place(highs))
        near_zero = squared_distance(near_low, near_high, np.zeros_like(step))
        inside = sums[0][place(highs)] - sums[0][place(lows)] - (sums[0][near_high] - sums[0][near_low])
        return clipped + near_zero + inside * step**2 / 12.0


OBSERVERS: dict[str, Callable[[int], Observer]] = {
    "minmax": MinMax,
    "moving-average": MovingAverage,
    "mse": MeanSquaredError,
    "percentile": Percentile,
}
DEFAULT_OBSERVER = "percentile"


def get_observer(name: str) -> Callable[[int], Observer]:
    """Return the observer of that name; raises ``TvmqError`` with the close matches for another one."""
    if name not in OBSERVERS:
        raise unknown("observer", name, OBSERVERS)
    return OBSERVERS[name]


def minmax_weights(weight: np.ndarray, limit: int) -> np.ndarray:
    """Return the largest magnitude of each row of ``[C, n]``."""
    return np.abs(weight).max(axis=1, initial=0.0)


def mse_weights(weight: np.ndarray, limit: int) -> np.ndarray:
    """Return the magnitude for each row of ``[C, n]`` at which clipping it costs least in the mean square."""
    largest = minmax_weights(weight, limit).astype(np.float64)
    best, least = largest.copy(), np.full(largest.shape, np.inf)
    for share in np.linspace(1.0, 0.5, 51):
        scale = np.where(largest > 0.0, largest * share / limit, 1.0)[:, None]
        error = np.square(np.clip(np.rint(weight / scale), -limit, limit) * scale - weight).sum(axis=1)
        better = error < least
        best[better], least[better] = (largest * share)[better], error[better]
    return best


WEIGHT_OBSERVERS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "minmax": minmax_weights,
    "mse": mse_weights,
}
"""``(float weights [C, n], largest integer) -> largest magnitude to represent [C]``."""
DEFAULT_WEIGHT_OBSERVER = "minmax"


def get_weight_observer(name: str) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return the weight observer of that name; raises ``TvmqError`` for an unknown one."""
    if name not in WEIGHT_OBSERVERS:
        raise unknown("weight observer", name, WEIGHT_OBSERVERS)
    return WEIGHT_OBSERVERS[name]
