"""The integers: what every quantized operator computes, in NumPy.

    accumulator = sum(data * weight) + offset              int32, exact
    requantize:   q = clamp(rint(float32(accumulator) * multiplier) + zero_point, lower, upper)

with ``offset = bias - data_zero_point * sum(weight)`` and ``multiplier = data_scale * weight_scale / out_scale`` in
float32. Rounding is half to even. This is the arithmetic that the ONNX specification gives QLinearConv and
QLinearMatMul. The multiply stands alone before the rounding, so no compiler can contract it into a fused
multiply-add, and every target gives the same bits.

Sums of several quantized tensors use integers throughout, with multipliers of 15 bits and a common shift:

    fixed:        t = sum_i (q_i - zero_point_i) * M_i                   M_i = rint(scale_i / out_scale * 2**shift)
                  q = clamp(((t + 2**(shift-1)) >> shift) + zero_point, lower, upper)

An accumulator joins such a sum as ``rint(float32(accumulator) * (multiplier * 2**shift))``, limited to +-2**22. The
shift is the largest for which multipliers keep to 15 bits, and sums of operands that the output can hold to that
limit. For operands of about the output's scale that is 13, and a multiplier's own rounding costs 255 * 2**-14 steps.

Rows that are quantized while a model runs have a scale each, and an accumulator of theirs becomes a float again:

    symmetric:    scale = max |x| / 127                               q = rint(x / scale) + zero_point
    asymmetric:   scale = (max(x, 0) - min(x, 0)) / 255               zero_point = clamp(rint(-min(x, 0) / scale) + low)
    result:       (float32(accumulator) * row scale) * column scale + bias
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MULTIPLIER_BITS = 15
ACCUMULATOR_LIMIT = 2**22
"""Magnitude to which an accumulator that joins a fixed-point sum is limited."""
INT32_MAX = 2**31 - 1


def bounds_of(dtype: str) -> tuple[int, int]:
    """Return the least and greatest value of an integer dtype."""
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def largest_sums(
    weight: np.ndarray, axis: tuple[int, ...], bounds: tuple[int, int], offset: np.ndarray | int = 0
) -> np.ndarray:
    """Return the largest magnitude that ``sum(data * weight) + offset`` can have, int64, of sums along some axes.

    Parameters
    ----------
    bounds : the least and the largest of the data.
    """
    above, below = (np.maximum(sign * weight.astype(np.int64), 0).sum(axis=axis) for sign in (1, -1))
    low, high = bounds
    return np.maximum(high * above - low * below + offset, high * below - low * above - offset)


@dataclass(frozen=True)
class Output:
    """An integer result: its dtype, zero point and clamp bounds (which hold a fused relu or clip).

    Attributes
    ----------
    dtype : ``"uint8"`` or ``"int8"``.
    zero_point : integer that stands for 0.
    lower, upper : inclusive bounds within the dtype's range.
    """

    dtype: str
    zero_point: int
    lower: int
    upper: int

    def __post_init__(self) -> None:
        low, high = bounds_of(self.dtype)
        if not low <= self.lower <= self.upper <= high or not low <= self.zero_point <= high:
            raise ValueError(f"{self} leaves the range [{low}, {high}]")


@dataclass(frozen=True)
class Addend:
    """One quantized operand of a fixed-point sum: ``(q - zero_point) * multiplier``, in units of ``2**-shift``."""

    zero_point: int
    multiplier: int


def fixed_point(ratios: list[float]) -> tuple[list[int], int]:
    """Return 15-bit multipliers for these scale ratios, and their common shift.

    An accumulator of up to ``256 * (1 + largest ratio)`` output steps in magnitude can matter to the sum, so that
    many must stay below ``ACCUMULATOR_LIMIT`` once shifted. The shift is at least 1, so that the rounding term exists.

    Raises
    ------
    ValueError : a ratio is not finite, or so large that no shift is left.
    """
    largest = max(abs(ratio) for ratio in ratios)
    if not np.isfinite(largest) or largest > 2 ** (MULTIPLIER_BITS - 2):
        raise ValueError(f"scale ratio {largest} does not fit a {MULTIPLIER_BITS}-bit multiplier")
    shift = 1
    while (
        round(largest * 2 ** (shift + 1)) < 2**MULTIPLIER_BITS
        and 256 * (1 + largest) * 2 ** (shift + 1) <= ACCUMULATOR_LIMIT
    ):
        shift += 1
    return [int(np.rint(ratio * 2**shift)) for ratio in ratios], shift


def quantize(
    values: np.ndarray, scale: np.ndarray | float, zero_point: np.ndarray | int, dtype: str
) -> np.ndarray:
    """Return ``clamp(rint(values / scale) + zero_point)`` in ``dtype`` (ONNX QuantizeLinear).

    ``scale`` and ``zero_point`` broadcast against ``values``.
    """
    low, high = bounds_of(dtype)
    rounded = np.rint(values.astype(np.float32) / np.asarray(scale, np.float32))
    shifted = rounded.astype(np.float64) + np.asarray(zero_point, np.float64)
    return np.clip(shifted, low, high).astype(dtype)


def quantize_rows(
    values: np.ndarray, dtype: str, symmetric: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return float32 ``values[..., K]`` in integers, with a scale and a zero point for each row.

    A scale of 0, as of a row of zeros, becomes 1. One that is not finite, as of a row with an infinity or a NaN, stays
    what it is: integers and zero points are those of zeros, and what they stand for is NaN. All is computed in float32,
    operation by operation.

    Parameters
    ----------
    dtype : ``"int8"`` or ``"uint8"``; symmetric numbers of uint8 have the zero point 128.

    Returns
    -------
    Integers ``[..., K]``; scales, float32 ``[...]``; zero points, of the integers' dtype ``[...]``.
    """
    low, high = bounds_of(dtype)
    centre = (low + high + 1) // 2
    with np.errstate(all="ignore"):
        if symmetric:
            scales = np.abs(values).max(axis=-1) / np.float32(127)
        else:
            least, most = np.minimum(values.min(axis=-1), 0), np.maximum(values.max(axis=-1), 0)
            scales = (most - least) / np.float32(255)
        scales = np.where(scales == 0, np.float32(1), scales)
        is_finite = np.isfinite(scales)
        zeros = np.full(scales.shape, centre)
        if not symmetric:
            zeros = np.where(is_finite, np.clip(np.rint(-least / scales) + low, low, high), low)
        steps = np.where(is_finite[..., None], np.rint(values / scales[..., None]), 0)
    lowest = centre - 127 if symmetric else low
    integers = np.clip(steps + zeros[..., None], lowest, high)
    return integers.astype(dtype), scales, zeros.astype(dtype)


def scale_rows(
    accumulator: np.ndarray, rows: np.ndarray, columns: np.ndarray, bias: np.ndarray | None = None
) -> np.ndarray:
    """Return an int32 accumulator ``[..., N]`` as float32, by scales of rows ``[...]`` and of columns ``[N]``."""
    scaled = accumulator.astype(np.float32) * rows[..., None] * columns
    return scaled if bias is None else scaled + bias


def dequantize(values: np.ndarray, scale: np.ndarray | float, zero_point: np.ndarray | int) -> np.ndarray:
    """Return ``float32(values - zero_point) * scale`` (ONNX DequantizeLinear)."""
    centred = values.astype(np.int32) - np.asarray(zero_point).astype(np.int32)
    return centred.astype(np.float32) * np.asarray(scale, np.float32)


def requantize(accumulator: np.ndarray, multiplier: np.ndarray, out: Output) -> np.ndarray:
    """Return an int32 accumulator as the integers of ``out``; ``multiplier`` float32, broadcast over the channels."""
    low = np.float32(out.lower - out.zero_point)
    high = np.float32(out.upper - out.zero_point)
    scaled = accumulator.astype(np.int32).astype(np.float32) * np.asarray(multiplier, np.float32)
    return (np.clip(np.rint(scaled), low, high).astype(np.int32) + out.zero_point).astype(out.dtype)


def scale_accumulator(accumulator: np.ndarray, multiplier: np.ndarray) -> np.ndarray:
    """Return an accumulator as an int32 operand of a fixed-point sum, ``multiplier`` holding ``2**shift`` already.

    It is limited to +-``ACCUMULATOR_LIMIT``, beyond which it leaves any output's range (``fixed_point``).
    """
    scaled = accumulator.astype(np.int32).astype(np.float32) * np.asarray(multiplier, np.float32)
    return np.clip(np.rint(scaled), -ACCUMULATOR_LIMIT, ACCUMULATOR_LIMIT).astype(np.int32)


def weigh(values: np.ndarray, addend: Addend) -> np.ndarray:
    """Return ``(values - zero_point) * multiplier`` as int32."""
    return (values.astype(np.int32) - np.int32(addend.zero_point)) * np.int32(addend.multiplier)


def shift_to(total: np.ndarray, shift: int, out: Output) -> np.ndarray:
    """Return a fixed-point int32 sum as the integers of ``out``, rounded half up."""
    rounded = (total.astype(np.int32) + np.int32(1 << (shift - 1))) >> np.int32(shift)
    return np.clip(rounded + out.zero_point, out.lower, out.upper).astype(out.dtype)


def conv2d_accumulator(
    data: np.ndarray,
    weight: np.ndarray,
    strides: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    pad_value: int,
) -> np.ndarray:
    """Return the int32 accumulator of a convolution, without offset.

    Parameters
    ----------
    data : integers, shape (N, H, W, C).
    weight : int8, shape (O, C // groups, KH, KW).
    padding : top, left, bottom, right.
    pad_value : what stands outside of ``data``: its zero point.

    Returns
    -------
    int32, shape (N, OH, OW, O). Raises ``OverflowError`` where a sum leaves int32.
    """
    top, left, bottom, right = padding
    padded = np.pad(
        data.astype(np.int64),
        ((0, 0), (top, bottom), (left, right), (0, 0)),
        constant_values=pad_value,
    )
    out_channels, group_depth, kernel_h, kernel_w = weight.shape
    out_h = (padded.shape[1] - (kernel_h - 1) * dilation[0] - 1) // strides[0] + 1
    out_w = (padded.shape[2] - (kernel_w - 1) * dilation[1] - 1) // strides[1] + 1
    group_out = out_channels // groups
    total = np.zeros((data.shape[0], out_h, out_w, out_channels), np.int64)
    for row in range(kernel_h):
        for column in range(kernel_w):
            top_row, left_column = row * dilation[0], column * dilation[1]
            window = padded[
                :,
                top_row : top_row + (out_h - 1) * strides[0] + 1 : strides[0],
                left_column : left_column + (out_w - 1) * strides[1] + 1 : strides[1],
            ]
            for group in range(groups):
                taps = weight[group * group_out : (group + 1) * group_out, :, row, column].astype(np.int64)
                part = window[..., group * group_depth : (group + 1) * group_depth]
                total[..., group * group_out : (group + 1) * group_out] += part @ taps.T
    return narrow(total)


def matmul_accumulator(data: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the int32 accumulator of ``data[..., K] @ weight[K, N]``; raises ``OverflowError`` outside of int32."""
    return narrow(data.astype(np.int64) @ weight.astype(np.int64))


def narrow(total: np.ndarray) -> np.ndarray:
    """Return int64 sums as int32; raises ``OverflowError`` where one does not fit."""
    if total.size and np.abs(total).max() > INT32_MAX:
        raise OverflowError("an accumulator leaves int32")
    return total.astype(np.int32)
