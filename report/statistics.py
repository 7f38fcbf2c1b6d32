"""Figures of a tensor in one pass and constant memory: its distribution, and how far a copy of it is off.

    SQNR = 10 log10(sum x^2 / sum (x' - x)^2)  dB        cosine = sum x x' / sqrt(sum x^2 sum x'^2)

with x the float value and x' the one that stands for it. Both sums run over all values of all samples. Quartiles
come from a histogram (``passes.calibrate.histogram``), so they are known to a bin.
"""

from __future__ import annotations

import math

import numpy as np

from ..passes.calibrate.histogram import BINS, Histogram

SQNR_LIMIT = 200.0
"""dB. Float32 resolves less than 150, so two tensors that agree beyond this are equal; JSON has no infinity."""


class Distribution:
    """The values of a tensor over the samples.

    Parameters
    ----------
    low, high : the range that its quantized form represents; values beyond it count as clipped.
    """

    def __init__(self, low: float, high: float):
        self.histogram = Histogram()
        self.min, self.max = math.inf, -math.inf
        self._range = low, high
        self._count = self._zeros = self._clipped = 0
        self._sum = self._squares = 0.0

    def update(self, values: np.ndarray) -> None:
        """Take in an array of finite floats of any shape."""
        flat = values.reshape(-1)
        low, high = self._range
        least, most = float(flat.min()), float(flat.max())
        self.min, self.max = min(self.min, least), max(self.max, most)
        self._count += flat.size
        self._zeros += flat.size - int(np.count_nonzero(flat))
        if least < low or most > high:
            self._clipped += int(np.count_nonzero((flat < low) | (flat > high)))
        self._sum += float(flat.sum(dtype=np.float64))
        self._squares += dot(flat, flat)
        self.histogram.update(flat)

    @property
    def mean(self) -> float:
        return self._sum / self._count

    @property
    def variance(self) -> float:
        """Of the population; rounding may not make it negative."""
        return max(self._squares / self._count - self.mean**2, 0.0)

    @property
    def sparsity(self) -> float:
        """The share of exact zeros."""
        return self._zeros / self._count

    @property
    def clip_rate(self) -> float:
        """The share of values beyond the represented range."""
        return self._clipped / self._count

    def quartiles(self) -> tuple[float, float, float]:
        """Return the values below which a quarter, a half and three quarters lie, to a bin."""
        histogram = self.histogram
        below = np.cumsum(histogram.counts)
        places = np.searchsorted(below, below[-1] * np.array([0.25, 0.5, 0.75]))
        # The first bin above zero holds zero itself, which after a relu is where most values are.
        found = np.where(places == BINS, 0.0, histogram.centers[places])
        first, second, third = np.clip(found, self.min, self.max)
        return float(first), float(second), float(third)


class Difference:
    """How far the values that stand for a tensor are off.

    Attributes
    ----------
    max_error : the largest magnitude of a difference.
    """

    def __init__(self, axis: int | None = 1) -> None:
        """``axis`` : of the channels, for ``bias_share``; None takes all of a tensor as one channel."""
        self.max_error = 0.0
        self._axis = axis
        self._exact = self._copy = self._product = self._error = 0.0
        self._shift: np.ndarray | float = 0.0
        self._rows = 0

    def update(self, exact: np.ndarray, copy: np.ndarray) -> None:
        """Take in the float values and those that stand for them, of one shape."""
        error = copy - exact
        flat, other, off = exact.reshape(-1), copy.reshape(-1), error.reshape(-1)
        self.max_error = max(self.max_error, float(off.max()), -float(off.min()))
        self._exact += dot(flat, flat)
        self._copy += dot(other, other)
        self._product += dot(flat, other)
        self._error += dot(off, off)
        rank = error.ndim
        axis = self._axis % rank if rank > 1 and self._axis is not None else None
        others = tuple(place for place in range(rank) if place != axis)
        self._shift = self._shift + error.sum(axis=others, dtype=np.float64)
        self._rows += error.size // np.size(self._shift)

    @property
    def sqnr(self) -> float:
        """dB, within ``SQNR_LIMIT`` on both sides."""
        if self._error == 0.0:
            return SQNR_LIMIT
        if self._exact == 0.0:
            return -SQNR_LIMIT
        return float(np.clip(10.0 * math.log10(self._exact / self._error), -SQNR_LIMIT, SQNR_LIMIT))

    @property
    def cosine(self) -> float:
        """1 where both are zero everywhere, 0 where one of them is."""
        if self._exact == 0.0 or self._copy == 0.0:
            return float(self._exact == self._copy)
        return min(self._product / math.sqrt(self._exact * self._copy), 1.0)

    @property
    def bias_share(self) -> float:
        """The share of the squared error that each channel's mean error makes: what a bias could take off."""
        if self._error == 0.0:
            return 0.0
        return float(np.sum(np.square(self._shift)) / self._rows / self._error)


class ChannelRange:
    """The smallest and largest value, and the largest magnitude of each channel along ``axis``; of None as one."""

    def __init__(self, axis: int | None):
        self._axis = axis
        self.magnitudes: np.ndarray | None = None

    def update(self, values: np.ndarray) -> None:
        """Take in an array; one of a single axis counts as one channel."""
        axis = self._axis % values.ndim if values.ndim > 1 and self._axis is not None else None
        others = tuple(place for place in range(values.ndim) if place != axis)
        largest = np.atleast_1d(np.maximum(values.max(axis=others), -values.min(axis=others)))
        self.magnitudes = largest if self.magnitudes is None else np.maximum(self.magnitudes, largest)

    @property
    def largest(self) -> float:
        """The largest magnitude of all."""
        return 0.0 if self.magnitudes is None else float(self.magnitudes.max())

    @property
    def spread(self) -> float:
        """The largest magnitude of a channel over that of the middle one; channels that are zero do not count."""
        alive = np.zeros(0) if self.magnitudes is None else self.magnitudes[self.magnitudes > 0.0]
        return float(alive.max() / np.median(alive)) if alive.size else 1.0


def dot(first: np.ndarray, second: np.ndarray) -> float:
    """Return the sum of products of two flat arrays of one float type.

    BLAS sums in blocks: for float32 the relative error of a sum of squares stays below 1e-5, 0.0001 dB.
    """
    return float(np.dot(first, second))
