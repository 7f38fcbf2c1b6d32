"""A histogram of unbounded values in one pass and constant memory.

``2 * BINS`` bins of equal width lie around zero. A value beyond them doubles the width until it fits: two
neighbours become one bin, nothing is lost but resolution, and zero stays on an edge. So the largest magnitude
seen lies at least half way to the end.
"""

from __future__ import annotations

import numpy as np

BINS = 4096
"""Bins on each side of zero: 16 or more for each of 256 steps over a range that begins at zero."""

MAX_SAMPLES = 1 << 17
"""Values of one array that are counted. Of a larger one every k-th is: a tail that is a share p of the values
is then known to a relative error of about 1 / sqrt(p * MAX_SAMPLES) from each array."""


class Histogram:
    """Counts of values by magnitude and sign; smallest and largest value are exact.

    Attributes
    ----------
    low, high : the smallest and the largest value so far, and zero.
    counts : float64 ``[2 * BINS]``; bin ``i`` begins at ``(i - BINS) * width``.
    width : of a bin; 0 until a value other than zero came.
    """

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self.width = 0.0
        self.counts = np.zeros(2 * BINS)

    def update(self, array: np.ndarray) -> None:
        """Count the values of a float array of any shape."""
        values = array.reshape(-1)
        if not values.size:
            return
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        # An odd stride shares few factors with the extents of images and channels, so it meets them all.
        stride = -(-values.size // MAX_SAMPLES) | 1
        self._grow(max(-self.low, self.high))
        # Of smaller widths the reciprocal is infinite; such values count as zeros.
        if self.width < np.finfo(np.float32).tiny:
            self.counts[BINS] += -(-values.size // stride)
            return
        places = values[::stride] * np.float32(1.0 / self.width) + np.float32(BINS)
        # The float32 sum may round up to the end.
        np.clip(places, 0, 2 * BINS - 1, out=places)
        self.counts += np.bincount(places.astype(np.int64), minlength=2 * BINS)

    def _grow(self, largest: float) -> None:
        """Make the bins reach beyond a magnitude."""
        if largest == 0.0:
            return
        if self.width == 0.0:
            self.width = largest / (BINS - 1)
        while largest >= self.width * BINS:
            merged = self.counts.reshape(BINS, 2).sum(axis=1)
            self.counts[:] = 0.0
            self.counts[BINS // 2 : BINS // 2 + BINS] = merged
            self.width *= 2.0

    @property
    def centers(self) -> np.ndarray:
        """The middle of each bin, float64 ``[2 * BINS]``."""
        return (np.arange(-BINS, BINS) + 0.5) * self.width

    @property
    def edges(self) -> np.ndarray:
        """Where each bin begins, and the end of the last one, float64 ``[2 * BINS + 1]``."""
        return np.arange(-BINS, BINS + 1) * self.width

    def places(self, values: np.ndarray) -> np.ndarray:
        """Return for each value the edge that is nearest to it, by number; there must be a width."""
        return np.clip(np.rint(values / self.width).astype(np.int64) + BINS, 0, 2 * BINS)
