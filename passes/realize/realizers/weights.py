"""Constant operands: quantized weights and the biases that belong to them.

    bias_int = rint(bias / (data_scale * weight_scale))
    offset   = bias_int - data_zero_point * sum(weight)

A channel whose weights are nearly nothing has so small a scale that its bias would leave int32. Its scale is raised
until the bias fits; its weights lose bits that are far below the bias's own rounding.

Weights with a zero point of their own need 9 bits without it, and products take 8. What is the same for all of them
comes out of the sum:

    sum(data * weight)  =  sum(data * (weight - shift)) + shift * sum(data)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import relax

from ...hub import arithmetic
from ...hub.graph import is_constant, op_name, shape_of, to_numpy
from ...hub.parameters import along
from .quantized import Facts

MAX_BIAS = float(2**29)


@dataclass(frozen=True)
class Weight:
    """Integer weights; ``scale`` float64, one for each output channel, which is ``values``'s axis ``axis``.

    They are int8, or int16 where they need 9 bits.
    """

    values: np.ndarray
    scale: np.ndarray
    axis: int

    @property
    def is_wide(self) -> bool:
        """Tell whether the weights do not fit int8."""
        return self.values.dtype != np.int8

    def split(self) -> tuple[Weight, int]:
        """Return the weights less a number, which fit int8 then, and the number: the nearest to 0."""
        shift = _shift_of(self.values)
        return Weight((self.values - shift).astype(np.int8), self.scale, self.axis), shift


def _shift_of(values: np.ndarray) -> int:
    least, most = int(values.min(initial=0)), int(values.max(initial=0))
    return max(most - 127, 0) or min(least + 128, 0)


def constant_value(facts: Facts, expr: relax.Expr) -> np.ndarray | None:
    """Return the value of a constant, also of a dequantized, reshaped or transposed one; None where it varies."""
    value = facts.definition(expr)
    if is_constant(value):
        return to_numpy(value)
    name = op_name(value)
    if name == "relax.dequantize":
        parts = [constant_value(facts, argument) for argument in value.args]
        if any(part is None for part in parts):
            return None
        values, scale, zero_point = parts
        return dequantized(values, scale, zero_point, int(value.attrs.axis))
    if name in ("relax.reshape", "relax.permute_dims"):
        inner = constant_value(facts, value.args[0])
        if inner is None:
            return None
        if name == "relax.reshape":
            return inner.reshape([int(extent) for extent in value.args[1].values])
        return inner.transpose(None if value.attrs.axes is None else [int(a) for a in value.attrs.axes])
    return None


def dequantized(values: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, axis: int) -> np.ndarray:
    """Return what integers stand for, whose scale and zero point are of all of them or of each place on an axis."""
    return arithmetic.dequantize(values, *(along(each, axis, values.ndim) for each in (scale, zero_point)))


def weight_of(facts: Facts, expr: relax.Expr, axis: int, takes_wide: bool = False) -> Weight | str:
    """Return the integer weights that ``expr`` dequantizes, or why there are none.

    Parameters
    ----------
    axis : the axis of the output channels, not negative.
    takes_wide : weights of 9 bits will do.
    """
    value = facts.definition(expr)
    if op_name(value) == "relax.permute_dims" and len(shape_of(value)) == 2:
        inner = weight_of(facts, value.args[0], 1 - axis, takes_wide)
        return inner if isinstance(inner, str) else Weight(inner.values.T, inner.scale, axis)
    if op_name(value) != "relax.dequantize":
        return "its weight is not quantized"
    constants = [facts.definition(argument) for argument in value.args]
    if not all(is_constant(constant) for constant in constants):
        return "its weight is not a constant"
    values, scale, zero_point = (to_numpy(constant) for constant in constants)
    if values.dtype not in (np.int8, np.uint8):
        return f"its weight is {values.dtype}, not 8 bits wide"
    channels = values.shape[axis]
    if max(scale.size, zero_point.size) > 1 and value.attrs.axis % values.ndim != axis:
        return f"its weight is quantized along axis {value.attrs.axis}, not along the output channels"
    centred = values.astype(np.int32) - along(zero_point.astype(np.int32), axis, values.ndim)
    is_wide = centred.size > 0 and np.abs(centred + 0.5).max() > 128
    if is_wide and not (takes_wide and np.ptp(centred) < 256):
        return "its asymmetric weight does not fit int8 without the zero point"
    scales = np.broadcast_to(scale.astype(np.float64).reshape(-1), (channels,))
    return Weight(centred.astype(np.int16 if is_wide else np.int8), scales, axis)


def fit_bias(weight: Weight, bias: np.ndarray, data_scale: float) -> Weight:
    """Return weights whose scales let every bias (float64, one a channel) be an int32."""
    steps = np.abs(bias) / (data_scale * weight.scale)
    others = tuple(axis for axis in range(weight.values.ndim) if axis != weight.axis)
    empty = ~weight.values.any(axis=others) & (bias != 0)
    if not empty.any() and steps.max(initial=0.0) <= MAX_BIAS:
        return weight
    needed = np.abs(bias) / (data_scale * MAX_BIAS)
    scale = np.where(empty, needed, np.maximum(weight.scale, needed))
    shape = [1] * weight.values.ndim
    shape[weight.axis] = -1
    values = np.rint(weight.values * (weight.scale / scale).reshape(shape)).astype(weight.values.dtype)
    return Weight(values, scale, weight.axis)


def offset_of(weight: Weight, bias: np.ndarray, data_scale: float, zero_point: int) -> np.ndarray | str:
    """Return the int32 offset of each accumulator, or why int32 is too small for it."""
    others = tuple(axis for axis in range(weight.values.ndim) if axis != weight.axis)
    wide = weight.values.astype(np.int64)
    offset = np.rint(bias / (data_scale * weight.scale)).astype(np.int64) - zero_point * wide.sum(axis=others)
    if largest_accumulators(weight, offset, (-255, 255)).max(initial=0) > arithmetic.INT32_MAX:
        return "its sums can leave int32"
    return offset.astype(np.int32)


def largest_accumulators(weight: Weight, offset: np.ndarray, bounds: tuple[int, int]) -> np.ndarray:
    """Return the largest magnitude that each channel's accumulator can have, int64, for activations within bounds."""
    others = tuple(axis for axis in range(weight.values.ndim) if axis != weight.axis)
    return arithmetic.largest_sums(weight.values, others, bounds, offset.astype(np.int64))
