"""Which weights are not rounded to the nearest value, so that the sum of each kernel is kept.

    minimize |sum over the kernel of w' - w|      each w' the nearest value, or the one on the other side of w

What a kernel reads of a smooth image is nearly the same at all of its positions, so the sum of its errors counts more
than each. From the nearest values on, the weight changes sides that costs least in squared error among those that make
the sum better, until none does: with integers the sum is then right within half a step. That needs no samples, and
depthwise kernels gain most. Source: Guo et al., "SQuant", 2022, with steps of one size and the kernel alone.
"""

from __future__ import annotations

import numpy as np


def to_switch(nearest: np.ndarray, other: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return which weights are to have their other value, bool in the shape of the weights.

    Parameters
    ----------
    nearest, other : the values on both sides of ``wanted``, OIHW; the same where there is none on the other side.
    wanted : the weights.
    """
    kernels = (*wanted.shape[:2], -1)
    errors = (nearest - wanted).reshape(kernels).astype(np.float64)
    changes = (other - nearest).reshape(kernels).astype(np.float64)
    costs = np.square(errors + changes) - np.square(errors)
    totals = errors.sum(axis=2, keepdims=True)
    switched = np.zeros(errors.shape, bool)
    while True:
        better = (np.abs(totals + changes) < np.abs(totals)) & ~switched
        best = np.where(better, costs, np.inf).argmin(axis=2, keepdims=True)
        found = np.take_along_axis(better, best, axis=2)
        if not found.any():
            return switched.reshape(wanted.shape)
        np.put_along_axis(switched, best, found | np.take_along_axis(switched, best, axis=2), axis=2)
        totals = totals + np.where(found, np.take_along_axis(changes, best, axis=2), 0.0)
