"""Which magnitude of weights to represent: ``(rows [C, n], largest integer) -> [C]``, one row a scale.

Weights are all there from the start, and a row may be the nine of a depthwise filter: so these look at the values
themselves, not at histograms, and there is no divergence of distributions among them.
"""

from __future__ import annotations

import numpy as np

PERCENTILE = 0.9999
WIDE = 7
"""Largest integer from which on clipping more than half of the range never pays."""


def minmax_weights(weight: np.ndarray, limit: int) -> np.ndarray:
    """Return the largest magnitude of each row."""
    return np.abs(weight).max(axis=1, initial=0.0)


def percentile_weights(weight: np.ndarray, limit: int) -> np.ndarray:
    """Return the magnitude within which ``PERCENTILE`` of each row lie; the largest of rows of few values."""
    if not weight.size:
        return minmax_weights(weight, limit)
    return np.quantile(np.abs(weight), PERCENTILE, axis=1, method="higher")


def mse_weights(weight: np.ndarray, limit: int) -> np.ndarray:
    """Return the magnitude for each row at which clipping it costs least in the mean square."""
    return _least_error(weight, limit, 2)


def emd_weights(weight: np.ndarray, limit: int) -> np.ndarray:
    """Return the magnitude for each row of the least earth mover's distance: the least mean absolute error."""
    return _least_error(weight, limit, 1)


def _least_error(weight: np.ndarray, limit: int, power: int) -> np.ndarray:
    least_share = 0.5 if limit >= WIDE else 0.1
    largest = minmax_weights(weight, limit).astype(np.float64)
    best, least = largest.copy(), np.full(largest.shape, np.inf)
    for share in np.linspace(1.0, least_share, 51):
        scale = np.where(largest > 0.0, largest * share / limit, 1.0)[:, None]
        rounded = np.clip(np.rint(weight / scale), -limit, limit) * scale
        error = (np.abs(rounded - weight) ** power).sum(axis=1)
        better = error < least
        best[better], least[better] = (largest * share)[better], error[better]
    return best
