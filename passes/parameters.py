"""From the range of a tensor to scale and zero point, and from float weights to integers.

    q = clamp(rint(x / scale) + zero_point)         x ~ (q - zero_point) * scale

Zero is always one of the values, so padding and relu are exact. Scales are float32, and a tensor that is zero
everywhere gets the scale 1.
"""

from __future__ import annotations

import numpy as np

MAX_BITS = 8
"""Of an integer that a kernel reads."""

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


def weight_limit(bits: int) -> int:
    """Return the largest magnitude of weights: symmetric, 127 for 8 bits, so that two products fit 16 bits."""
    return 2 ** (bits - 1) - 1


def activation_limits(dtype: str, bits: int = MAX_BITS) -> tuple[int, int]:
    """Return the smallest and the largest integer of an activation of ``bits`` bits stored in ``dtype``."""
    low = 0 if np.iinfo(dtype).min == 0 else -(2 ** (bits - 1))
    return low, low + 2**bits - 1


def activation_parameters(
    low: float, high: float, dtype: str, symmetric: bool, bits: int = MAX_BITS
) -> tuple[np.float32, int]:
    """Return (scale, zero point) with which ``bits`` bits of ``dtype`` cover ``[low, high]``, widened to hold zero.

    Symmetric means that the zero point is in the middle of the integers: 0, or 128 for unsigned ones of 8 bits.
    """
    first, last = activation_limits(dtype, bits)
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if symmetric:
        middle = (first + last + 1) // 2
        scale = _scale(max(-low, high) / (last - middle))
        return scale, middle
    scale = _scale((high - low) / (last - first))
    zero_point = int(np.rint(first - low / float(scale)))
    return scale, min(max(zero_point, first), last)


def represented_range(scale: float, zero_point: int, dtype: str, bits: int = MAX_BITS) -> tuple[float, float]:
    """Return the smallest and the largest value that these parameters represent."""
    first, last = activation_limits(dtype, bits)
    return (first - zero_point) * float(scale), (last - zero_point) * float(scale)


def weight_parameters(largest: np.ndarray, bits: int = MAX_BITS) -> np.ndarray:
    """Return the float32 scales with which ``largest`` magnitudes, one a channel, become ``weight_limit(bits)``."""
    limit = weight_limit(bits)
    return np.array([_scale(value / limit) for value in np.asarray(largest, np.float64)], np.float32)


def along(scale: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Return one value in all, or one for each index of ``axis``, in a shape that multiplies an array of ``rank``."""
    shape = [1] * rank
    shape[axis] = -1
    return scale.reshape(shape)


def quantize_weight(weight: np.ndarray, scale: np.ndarray, axis: int, bits: int = MAX_BITS) -> np.ndarray:
    """Return float weights as int8, with one scale in all or one for each index of ``axis``."""
    integers = np.rint(weight / along(scale, axis, weight.ndim))
    limit = weight_limit(bits)
    return np.clip(integers, -limit, limit).astype(np.int8)


def largest_pairs(values: np.ndarray) -> np.ndarray:
    """Return for each output channel what two adjacent input channels' weights of one sign sum up to at most.

    Parameters
    ----------
    values : integers, shape (O, I, taps): input channels 2i and 2i+1 meet in an instruction.
    """
    first, second = values[:, 0::2].astype(np.int32), values[:, 1::2].astype(np.int32)
    if second.shape[1] < first.shape[1]:
        second = np.concatenate([second, np.zeros_like(first[:, :1])], axis=1)
    positive = np.maximum(first, 0) + np.maximum(second, 0)
    negative = np.minimum(first, 0) + np.minimum(second, 0)
    return np.maximum(positive, -negative).reshape(len(values), -1).max(axis=1, initial=0)


def by_output_channel(weight: np.ndarray, axis: int) -> np.ndarray:
    """Return weights as (O, I, taps); ``axis`` is the output channels', 0 of a convolution's, 1 of a matrix's."""
    moved = np.moveaxis(weight, axis, 0)
    return moved.reshape(moved.shape[0], moved.shape[1], -1)


def limit_pairs(
    weight: np.ndarray, scale: np.ndarray, axis: int, limit: int, bits: int = MAX_BITS
) -> tuple[np.ndarray, np.ndarray]:
    """Return float weights as int8 whose pairs keep within ``limit``, and the scales, enlarged as far as needed.

    A channel's scale grows by what its worst pair exceeds the limit; where rounding up then still does, by further
    steps of 0.2 %. One scale for the whole tensor follows its worst channel.
    """
    scale = scale.astype(np.float64)
    while True:
        integers = quantize_weight(weight, scale, axis, bits)
        excess = largest_pairs(by_output_channel(integers, axis)) / limit
        if len(scale) == 1:
            excess = excess.max(keepdims=True, initial=0)
        if (excess <= 1).all():
            return integers, scale.astype(np.float32)
        scale = np.where(excess > 1, scale * np.maximum(excess, 1.002), scale).astype(np.float32)
        scale = scale.astype(np.float64)


def _scale(value: float) -> np.float32:
    """Return the scale as float32: 1 for zero, and never a subnormal, by which a division could overflow."""
    return np.float32(1.0 if value == 0.0 else max(value, SMALLEST_SCALE))
