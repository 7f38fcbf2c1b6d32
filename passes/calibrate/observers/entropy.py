"""The range whose quantized distribution diverges least from the values' own (Migacz, 2017, as TensorRT does it).

    KL(P || Q) = sum over bins of  P log (P / Q)

``P`` is the histogram within [low, high], with everything outside in its first and last bin. ``Q`` is what the
integers tell of it: each integer's share of the values inside, spread evenly over those of its bins that hold any.
A wide range makes the bins of one integer many and ``Q`` flat; a narrow one puts mass into the ends of ``P`` that
``Q`` does not have.

The integers lie where asymmetric parameters put them: ``steps + 1`` cells around multiples of
``(high - low) / steps``, one of them around zero. With sums over all bins before a bin, a divergence costs one
look-up a cell: for counts c, and n bins with values in a cell of T values, ``sum c log c - sum T log (T / n)``.
"""

from __future__ import annotations

import numpy as np

from ..histogram import BINS, Histogram

CANDIDATES = 128
"""Ends that are tried on each side of zero."""

ROUNDS = 4
"""At most how often one end is sought for the other one that was found last."""

UNSEEN = 0.5
"""What a bin of ``Q`` counts at least where ``P`` has values."""


class Entropy:
    """The range of the least Kullback-Leibler divergence."""

    def __init__(self, steps: int):
        self._steps = steps
        self._histogram = Histogram()

    def update(self, array: np.ndarray) -> None:
        self._histogram.update(array)

    def range(self) -> tuple[float, float]:
        histogram = self._histogram
        if histogram.width == 0.0:
            return 0.0, 0.0
        divergence = _Divergence(histogram, self._steps)
        # Below a bin a step nothing is lost inside, and the divergence says nothing.
        shortest = self._steps * histogram.width / (histogram.high - histogram.low)
        # The widest of equals comes first.
        shares = np.linspace(1.0, min(shortest, 1.0), CANDIDATES)
        low, high = histogram.low, histogram.high
        for _ in range(ROUNDS):
            before = low, high
            if histogram.high > 0.0:
                highs = histogram.high * shares
                high = float(highs[np.argmin(divergence(np.full_like(highs, low), highs))])
            if histogram.low < 0.0:
                lows = histogram.low * shares
                low = float(lows[np.argmin(divergence(lows, np.full_like(lows, high)))])
            if (low, high) == before:
                break
        return low, high


class _Divergence:
    """The divergence for candidate ranges of one histogram."""

    def __init__(self, histogram: Histogram, steps: int):
        self._histogram, self._steps = histogram, steps
        counts = histogram.counts.copy()
        # Zero is an integer of its own in every range: a spike of exact zeros, as relu makes it, must not decide.
        counts[BINS] = min(counts[BINS], max(counts[BINS - 1], counts[BINS + 1], 1.0))
        self._counts = counts
        self._values = _before(counts)
        self._filled = _before(counts > 0.0)
        self._information = _before(_x_log_x(counts))

    def __call__(self, lows: np.ndarray, highs: np.ndarray) -> np.ndarray:
        """Return the divergence of each range ``[lows[i], highs[i]]``, float64 ``[K]``."""
        edges = self._edges(lows, highs)
        first, last = edges[:, 0], edges[:, -1]
        values = np.diff(self._values[edges], axis=1)
        filled = np.diff(self._filled[edges], axis=1)
        total, inside = self._values[-1], values.sum(axis=1)
        own = self._information[last] - self._information[first]
        ends = ((self._values[first], first, 0), (total - self._values[last], last - 1, -1))
        for outside, end_bin, cell in ends:
            count = self._counts[end_bin]
            own += _x_log_x(count + outside) - _x_log_x(count)
            # A bin that only what is cut fills takes its part of the cell too.
            filled[:, cell] += (outside > 0.0) & (count == 0.0)
        level = np.maximum(values / np.maximum(filled, 1.0), UNSEEN)
        quantized = (values * np.log(level)).sum(axis=1)
        for outside, _, cell in ends:
            quantized += outside * np.log(level[:, cell])
        divergence = (own - quantized) / total - np.log(total) + np.log(np.maximum(inside, UNSEEN))
        return np.where(inside > 0.0, divergence, np.inf)

    def _edges(self, lows: np.ndarray, highs: np.ndarray) -> np.ndarray:
        """Return the bins where the integers' cells begin, and the end: int64 ``[K, steps + 2]``."""
        step = ((highs - lows) / self._steps)[:, None]
        zero = np.rint(-lows[:, None] / step)
        ends = np.arange(self._steps + 2) - 0.5
        ends[0], ends[-1] = 0.0, self._steps
        edges = self._histogram.places((ends - zero) * step)
        edges[:, -1] = np.maximum(edges[:, -1], edges[:, 0] + 1)
        return edges


def _before(values: np.ndarray) -> np.ndarray:
    """Return the sums of all values before each place, and of all of them."""
    return np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))


def _x_log_x(values: np.ndarray) -> np.ndarray:
    return values * np.log(np.where(values > 0.0, values, 1.0))
