"""Functions of single 8-bit integers, as tables of what TFLite's reference kernels compute for each of the 256."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ....passes.hub.arithmetic import bounds_of
from ....passes.hub.fixed_point import multiplied, quantized_multiplier, rounded_shift
from .. import gemmlowp
from ..body import OperatorBody, Stored
from ..own_operators import DOMAIN
from .exact import expect, integer_limits, scale_of, with_integer_bits

Table = Callable[[np.ndarray, Stored, Stored], np.ndarray]
"""``(integers less their zero point, what is said of them, and of the result) -> steps of the result's scale``."""


def of_table(body: OperatorBody, data: str, function: Table) -> str:
    """Write a function of single 8-bit integers as the table of its results.

    ``function`` gives them in steps of the result's scale, zero point included, for integers less their zero point.
    """
    stored, result = body.stored[data], body.results[0]
    expect(body, data)
    low, high = bounds_of(stored.dtype)
    values = np.arange(low, high + 1, dtype=np.int64) - stored.quantization.zero_point[0]
    table = np.clip(function(values, stored, result), *bounds_of(result.dtype))
    return body(f"{DOMAIN}.LookUp", data, body.constant(table, result.dtype), domain=DOMAIN)


def concatenation(body: OperatorBody, data: Sequence[str], axis: int) -> str:
    """Write ``CONCATENATION`` of 8-bit tensors, those of another scale than the result's requantized."""
    parts = []
    for name in data:
        expect(body, name)
        if body.stored[name] == body.results[0]:
            parts.append(name)
        elif body.results[0].dtype == "uint8":
            parts.append(of_table(body, name, _joined))
        else:
            raise ValueError(
                "its data have other scales than its result, and exact integers of int8 have one"
            )
    return body("Concat", *parts, axis=axis)


def _joined(values: np.ndarray, stored: Stored, result: Stored) -> np.ndarray:
    """Return integers at another scale, by a product and a sum in float32, halves away from 0."""
    ratio = np.float32(scale_of(stored.quantization)) * (
        np.float32(1) / np.float32(scale_of(result.quantization))
    )
    zero = stored.quantization.zero_point[0]
    scaled = (values + zero).astype(np.float32) * ratio + np.float32(-zero) * ratio
    nearest = np.trunc(scaled) + np.sign(scaled) * (np.abs(scaled - np.trunc(scaled)) >= 0.5)
    return nearest.astype(np.int64) + result.quantization.zero_point[0]


def requantized(values: np.ndarray, stored: Stored, result: Stored) -> np.ndarray:
    ratio = scale_of(stored.quantization) / scale_of(result.quantization)
    return multiplied(values, *quantized_multiplier(ratio)) + result.quantization.zero_point[0]


def limited_to(function: int, values: np.ndarray, stored: Stored, result: Stored) -> np.ndarray:
    """Return RELU and its like: requantized, by a ratio in float32, within the integers of the limits."""
    ratio = np.float32(scale_of(stored.quantization)) / np.float32(scale_of(result.quantization))
    steps = multiplied(values, *quantized_multiplier(float(ratio))) + result.quantization.zero_point[0]
    return np.clip(steps, *integer_limits(result, function))


def leaky_relu(alpha: float, values: np.ndarray, stored: Stored, result: Stored) -> np.ndarray:
    scale, out = (np.float32(scale_of(each.quantization)) for each in (stored, result))
    slope = float(scale) * float(np.float32(alpha)) / float(out)
    sign = -1 if slope < 0 else 1
    below = sign * multiplied(values, *quantized_multiplier(abs(slope)))
    return (
        np.where(values >= 0, multiplied(values, *quantized_multiplier(float(scale) / float(out))), below)
        + (result.quantization.zero_point[0])
    )


def logistic(values: np.ndarray, stored: Stored, result: Stored) -> np.ndarray:
    low, high = bounds_of(result.dtype)
    scaled, radius = with_integer_bits(values, scale_of(stored.quantization), 4)
    found = rounded_shift(gemmlowp.logistic(scaled, 4), 23) + low
    return np.where(values <= -radius, low, np.where(values >= radius, high, found))


def tanh(values: np.ndarray, stored: Stored, result: Stored) -> np.ndarray:
    low, high = bounds_of(result.dtype)
    scaled, radius = with_integer_bits(values, scale_of(stored.quantization), 4)
    found = rounded_shift(gemmlowp.tanh(scaled, 4), 24) + (low + high + 1) // 2
    return np.where(values <= -radius, low, np.where(values >= radius, high, found))


def hard_swish(values: np.ndarray, stored: Stored, result: Stored) -> np.ndarray:
    scale, out = (np.float32(scale_of(each.quantization)) for each in (stored, result))
    fine = np.float32(np.float32(1 / 128) * scale)
    of_result, exponent = _narrow_multiplier(float(np.float32(fine / out)))
    of_gate, gate_exponent = _narrow_multiplier(float(np.float32(fine / np.float32(3.0 / 32768.0))))
    wide = values * 128
    before_shift = _high_product_16(wide, of_result)
    gate = wide
    if gate_exponent > 0:
        gate = _saturated_16(gate << (gate_exponent - 1))
    gate = _high_product_16(gate, of_gate)
    if gate_exponent > 0:
        gate = _saturated_16(gate << 1)
    elif gate_exponent < 0:
        gate = rounded_shift(gate, -gate_exponent)
    gate = (gate + 2**15) >> 1
    product = gate * before_shift
    truncated = np.clip(np.sign(product) * (np.abs(product) >> 15), -(2**15), 2**15 - 1)
    return rounded_shift(truncated, -exponent) + result.quantization.zero_point[0]


def _narrow_multiplier(ratio: float) -> tuple[int, int]:
    """Return a multiplier of 16 bits and its shift."""
    multiplier, shift = quantized_multiplier(ratio)
    return (2**15 - 1 if multiplier >= 2**31 - 1 - 2**15 else (multiplier + 2**15) >> 16), shift


def _high_product_16(values: np.ndarray, factor: int) -> np.ndarray:
    return (values * factor + 2**14) >> 15


def _saturated_16(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -(2**15), 2**15 - 1)
