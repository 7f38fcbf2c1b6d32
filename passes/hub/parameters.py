"""From the range of a tensor to scale and zero point, and from float weights to integers.

    q = clamp(rint(x / scale) + zero_point)         x ~ (q - zero_point) * scale

Zero is always one of the values, so padding and relu are exact. Scales are float32, and a tensor that is zero
everywhere gets the scale 1. Where scales are to be powers of two, they are rounded up, so that nothing more is clipped.
"""

from __future__ import annotations

import numpy as np

MAX_BITS = 8
"""Of an integer that a kernel reads."""

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
LARGEST_SCALE = float(np.finfo(np.float32).max)


def weight_limit(bits: int) -> int:
    """Return the largest integer of weights, which the largest magnitude becomes.

    For 8 bits it is 127, and the smallest is -127, so that two products fit 16 bits.
    """
    return 2 ** (bits - 1) - 1


def weight_limits(bits: int, narrow_range: bool = False) -> tuple[int, int]:
    """Return the smallest and the largest integer of weights: of fewer than 8 bits all that there are.

    ``narrow_range`` leaves out the smallest of fewer bits too, so that 2 bits are the ternary -1, 0 and 1.
    """
    largest = weight_limit(bits)
    return (-largest if bits == MAX_BITS or narrow_range else -largest - 1), largest


WEIGHT_LIMITS = weight_limits(MAX_BITS)


def bits_of(integers: np.ndarray) -> int:
    """Return how many bits signed integers of at most 8 bits need, such as 4 for all from -8 to 7."""
    wide = integers.astype(np.int16)
    return int(np.where(wide < 0, ~wide, wide).max(initial=0)).bit_length() + 1


def activation_limits(dtype: str, bits: int = MAX_BITS) -> tuple[int, int]:
    """Return the smallest and the largest integer of an activation of ``bits`` bits stored in ``dtype``."""
    low = 0 if np.iinfo(dtype).min == 0 else -(2 ** (bits - 1))
    return low, low + 2**bits - 1


def activation_parameters(
    low: float, high: float, dtype: str, symmetric: bool, bits: int = MAX_BITS, power_of_two: bool = False
) -> tuple[np.float32, int]:
    """Return (scale, zero point) with which ``bits`` bits of ``dtype`` cover ``[low, high]``, widened to hold zero.

    Symmetric means that the zero point is in the middle of the integers: 0, or 128 for unsigned ones of 8 bits.
    """
    first, last = activation_limits(dtype, bits)
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if symmetric:
        middle = (first + last + 1) // 2
        scale = _scale(max(-low, high) / (last - middle), power_of_two)
        return scale, middle
    scale = _scale((high - low) / (last - first), power_of_two)
    zero_point = int(np.rint(first - low / float(scale)))
    return scale, min(max(zero_point, first), last)


def represented_range(scale: float, zero_point: int, dtype: str, bits: int = MAX_BITS) -> tuple[float, float]:
    """Return the smallest and the largest value that these parameters represent."""
    first, last = activation_limits(dtype, bits)
    return (first - zero_point) * float(scale), (last - zero_point) * float(scale)


def weight_parameters(largest: np.ndarray, bits: int = MAX_BITS, power_of_two: bool = False) -> np.ndarray:
    """Return the float32 scales with which ``largest`` magnitudes, one a channel, become ``weight_limit(bits)``."""
    limit = weight_limit(bits)
    values = np.asarray(largest, np.float64) / limit
    return np.array([_scale(value, power_of_two) for value in values], np.float32)


def next_power_of_two(values: np.ndarray) -> np.ndarray:
    """Return the smallest powers of two that are no less than positive values."""
    mantissas, exponents = np.frexp(values)
    return np.ldexp(np.ones_like(mantissas), exponents - (mantissas == 0.5))


def along(scale: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Return one value in all, or one for each index of ``axis``, in a shape that multiplies an array of ``rank``."""
    shape = [1] * rank
    if scale.size > 1:
        shape[axis] = -1
    return scale.reshape(shape)


def quantize_weight(
    weight: np.ndarray, scale: np.ndarray, axis: int, limits: tuple[int, int] = WEIGHT_LIMITS
) -> np.ndarray:
    """Return float weights as int8 within ``limits``, with one scale in all or one for each index of ``axis``."""
    integers = np.rint(weight / along(scale, axis, weight.ndim))
    return np.clip(integers, *limits).astype(np.int8)


def _scale(value: float, power_of_two: bool = False) -> np.float32:
    """Return the scale as float32: 1 for zero, and never a subnormal, by which a division could overflow."""
    value = 1.0 if value == 0.0 else max(value, SMALLEST_SCALE)
    return np.float32(next_power_of_two(np.asarray(value)) if power_of_two else value)
