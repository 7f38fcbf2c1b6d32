"""From the range of a tensor to scale and zero point, and from float weights to integers.

    q = clamp(rint(x / scale) + zero_point)         x ~ (q - zero_point) * scale

Zero is always one of the values, so padding and relu are exact. Scales are float32, and a tensor that is zero
everywhere gets the scale 1.
"""

from __future__ import annotations

import numpy as np

WEIGHT_LIMIT = 127
"""Weights use [-127, 127]: symmetric, and no product of two of them needs more than 15 bits."""

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


def activation_parameters(low: float, high: float, dtype: str, symmetric: bool) -> tuple[np.float32, int]:
    """Return (scale, zero point) with which ``dtype`` covers ``[low, high]``, widened to hold zero.

    Symmetric means that the zero point is in the middle of ``dtype``: 0, or 128 for unsigned.
    """
    limits = np.iinfo(dtype)
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if symmetric:
        middle = int(limits.min + limits.max + 1) // 2
        scale = _scale(max(-low, high) / (limits.max - middle))
        return scale, middle
    scale = _scale((high - low) / (int(limits.max) - int(limits.min)))
    zero_point = int(np.rint(limits.min - low / float(scale)))
    return scale, min(max(zero_point, int(limits.min)), int(limits.max))


def weight_parameters(largest: np.ndarray) -> np.ndarray:
    """Return the float32 scales with which ``largest`` magnitudes, one a channel, become ``WEIGHT_LIMIT``."""
    return np.array([_scale(value / WEIGHT_LIMIT) for value in np.asarray(largest, np.float64)], np.float32)


def quantize_weight(weight: np.ndarray, scale: np.ndarray, axis: int) -> np.ndarray:
    """Return float weights as int8, with one scale in all or one for each index of ``axis``."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    integers = np.rint(weight / scale.reshape(shape))
    return np.clip(integers, -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8)


def _scale(value: float) -> np.float32:
    """Return the scale as float32: 1 for zero, and never a subnormal, by which a division could overflow."""
    return np.float32(1.0 if value == 0.0 else max(value, SMALLEST_SCALE))
