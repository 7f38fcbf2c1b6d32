"""Operators on integers as TFLite's reference kernels compute them, bit by bit.

    ADD(a, b)  -->  a' = rescaled((a - zero_a) << 20),  b' alike,  y = clip(rescaled(a' + b') + zero_y)

What only moves or selects integers needs nothing of its own, and products have their integers beside the graph
(``requantization.py``). Definitions: ``tensorflow/lite/kernels/internal/reference`` of TFLite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from onnx import TensorProto
from tflite import ActivationFunctionType

from ....passes.hub.arithmetic import bounds_of
from ....passes.hub.fixed_point import multiplied, quantized_multiplier, rounded_shift
from .. import gemmlowp
from ..body import LIMITS, OperatorBody, Stored
from ..file import Quantization
from ..own_operators import DOMAIN
from ..requantization import ratios_of

SHORT = ("int8", "uint8")
ANY = (*SHORT, "int16")


def scale_of(quantization: Quantization) -> float:
    """Return the one scale of a tensor; raise ``ValueError`` where it has several."""
    if len(quantization.scale) != 1:
        raise ValueError("a scale for each channel of data is not supported with exact integers")
    return quantization.scale[0]


def integer_limits(stored: Stored, function: int) -> tuple[int, int]:
    """Return the least and the greatest integer of a result behind an activation."""
    low, high = bounds_of(stored.dtype)
    limits = {
        **LIMITS,
        ActivationFunctionType.RELU: (0.0, math.inf),
        ActivationFunctionType.NONE: (-math.inf, math.inf),
    }
    if function not in limits:
        raise ValueError(f"its activation, number {function}, is not supported with exact integers")
    ends = [
        stored.quantization.zero_point[0]
        + rounded(np.float32(limit) / np.float32(scale_of(stored.quantization)))
        if math.isfinite(limit)
        else end
        for limit, end in zip(limits[function], (low, high), strict=True)
    ]
    return max(low, ends[0]), min(high, ends[1])


def rounded(value: float) -> int:
    """Return the nearest integer, halves away from 0."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))


def _centred(body: OperatorBody, name: str) -> str:
    """Return an input's integers less its zero point, as int32."""
    value = body("Cast", name, to=TensorProto.INT32)
    zero = body.stored[name].quantization.zero_point[0]
    return body("Sub", value, body.constant(zero, "int32")) if zero else value


def rescaled(body: OperatorBody, value: str, ratio: float) -> str:
    """Return int32 times a ratio of scales."""
    return _rescaled_by(body, value, *quantized_multiplier(ratio))


def _rescaled_by(body: OperatorBody, value: str, multiplier: int, shift: int) -> str:
    return body(f"{DOMAIN}.Rescale", value, multiplier=multiplier, shift=shift, domain=DOMAIN)


def _finished(body: OperatorBody, value: str, limits: tuple[int, int]) -> str:
    """Return int32 steps of the result's scale as its integers."""
    stored = body.results[0]
    zero = stored.quantization.zero_point[0]
    if zero:
        value = body("Add", value, body.constant(zero, "int32"))
    value = body("Clip", value, *(body.constant(limit, "int32") for limit in limits))
    return body("Cast", value, to=_TYPES[stored.dtype])


_TYPES = {"int8": TensorProto.INT8, "int16": TensorProto.INT16, "uint8": TensorProto.UINT8}


def sum_of(operator: str, body: OperatorBody, left: str, right: str, function: int) -> str:
    """Write ``ADD`` or ``SUB`` of tensors of 8 or 16 bits."""
    _expect(body, left, right, dtypes=ANY)
    scales = [scale_of(body.stored[name].quantization) for name in (left, right)]
    most, bits = 2.0 * max(scales), 15 if body.results[0].dtype == "int16" else 20
    terms = [
        rescaled(body, body("Mul", _centred(body, name), body.constant(1 << bits, "int32")), scale / most)
        for name, scale in zip((left, right), scales, strict=True)
    ]
    ratio = most / ((1 << bits) * scale_of(body.results[0].quantization))
    total = rescaled(body, body(operator, *terms), ratio)
    return _finished(body, total, integer_limits(body.results[0], function))


def product_of(body: OperatorBody, left: str, right: str, function: int) -> str:
    """Write ``MUL`` of tensors of 8 or 16 bits."""
    _expect(body, left, right, dtypes=ANY)
    scales = [scale_of(body.stored[name].quantization) for name in (left, right)]
    ratio = scales[0] * scales[1] / scale_of(body.results[0].quantization)
    value = rescaled(body, body("Mul", _centred(body, left), _centred(body, right)), ratio)
    return _finished(body, value, integer_limits(body.results[0], function))


def _expect(body: OperatorBody, *names: str, dtypes: Sequence[str] = SHORT) -> None:
    for stored in (*(body.stored[name] for name in names), body.results[0]):
        if stored.dtype not in dtypes or stored.quantization is None:
            raise ValueError(f"exact integers of {stored.dtype} are not supported for it")


def average_pool(
    body: OperatorBody,
    data: str,
    size: tuple[int, int],
    strides: tuple[int, int],
    is_same: bool,
    function: int,
) -> str:
    """Write ``AVERAGE_POOL_2D`` of 8-bit images."""
    _expect(body, data)
    pads = [
        _same(*each) if is_same else (0, 0)
        for each in zip(body.shapes[data][1:3], size, strides, strict=True)
    ]
    before, after = zip(*pads, strict=True)
    low, high = integer_limits(body.results[0], function)
    return body(
        f"{DOMAIN}.AveragePool", data, domain=DOMAIN, kernel_shape=size, strides=strides, pads=(*before, *after),
        lower=low, upper=high,
    )  # fmt: skip


def softmax(body: OperatorBody, data: str, beta: float) -> str:
    """Write ``SOFTMAX`` of 8-bit rows, whose exponentials have 5 integer bits."""
    _expect(body, data)
    low, _ = bounds_of(body.results[0].dtype)
    quantization = body.results[0].quantization
    if body.results[0].dtype != body.stored[data].dtype or quantization.zero_point[0] != low:
        raise ValueError("its result's dtype and zero point are none that exact integers are supported for")
    if quantization.scale[0] != 1 / 256:
        raise ValueError(f"its result's scale is {quantization.scale[0]:g}, and exact integers have 1/256")
    bits = 5
    ratio = min(
        np.float64(np.float32(beta)) * scale_of(body.stored[data].quantization) * 2.0 ** (31 - bits),
        2.0**31 - 1,
    )
    multiplier, shift = quantized_multiplier(ratio)
    radius = math.floor((2**bits - 1) * 2.0 ** (31 - bits) / 2.0**shift)
    distance = np.arange(256)
    scaled = multiplied(-distance, multiplier, shift).astype(np.int64)
    table = np.where(distance <= radius, gemmlowp.exponential(scaled, bits), 0)
    return body(f"{DOMAIN}.Softmax", data, body.constant(table, "int32"), domain=DOMAIN)


def is_wide(body: OperatorBody, data: str) -> bool:
    """Tell whether an operator is to be exact on data of 16 bits."""
    return body.exact and body.is_quantized(data) and body.stored[data].dtype == "int16"


def wide_convolution(
    body: OperatorBody, data: str, weight: str, order: Sequence[int], bias: str, groups: int, is_same: bool,
    strides: Sequence[int], dilations: Sequence[int], function: int,
) -> str:  # fmt: skip
    """Write a product of 16-bit images and 8-bit weights.

    ``order`` brings their axes to (O, C // groups, KH, KW), or (O, K) of rows, whose kernel is another: it has
    multipliers of 32 bits.
    """
    _expect(body, data, dtypes=("int16",))
    values, own = body.known(weight, "weight"), body.stored[weight].quantization
    if values.dtype != np.int8 or own is None or any(own.zero_point):
        raise ValueError("its weight is no constant of int8 without zero points")
    filters = np.ascontiguousarray(values.transpose(order))
    of_rows = filters.ndim == 2
    if of_rows:
        filters = filters[:, :, None, None]
    offset = body.known(bias, "bias") if bias else np.zeros(len(filters), np.int64)
    if offset.dtype != np.int64:
        raise ValueError(
            f"its bias is {offset.dtype}; with data of 16 bits exact integers are known for int64"
        )
    quantizations = body.stored[data].quantization, own, body.results[0].quantization
    ratios = ratios_of(*quantizations, len(filters), in_float32=of_rows and len(own.scale) == 1)
    multipliers, shifts = map(list, zip(*map(quantized_multiplier, ratios), strict=True))
    if of_rows:
        largest = 2**15 * np.abs(filters.astype(np.int64)).sum(axis=(1, 2, 3)) + np.abs(offset)
        if largest.max(initial=0) >= 2**31:
            raise ValueError(
                "its sums can leave int32, and with data of 16 bits its exact integers are not known then"
            )
    else:
        multipliers = [(each + 2**15) >> 16 if each < 0x7FFF0000 else 0x7FFF for each in multipliers]
    pads = [
        _same(*each) if is_same else (0, 0)
        for each in zip(body.shapes[data][1:3], filters.shape[2:], strides, dilations, strict=True)
    ]
    low, high = integer_limits(body.results[0], function)
    constants = (
        body.constant(filters, "int8"),
        *(body.constant(each) for each in (offset, multipliers, shifts)),
    )
    return body(
        f"{DOMAIN}.WideConv", data, *constants, domain=DOMAIN, strides=strides, dilations=dilations, group=groups,
        pads=[end for ends in zip(*pads, strict=True) for end in ends], lower=low, upper=high,
        bits=31 if of_rows else 15,
    )  # fmt: skip


def wide_product(body: OperatorBody, data: str, weight: str, bias: str, function: int) -> str:
    """Write a product of rows of 16 bits and 8-bit weights ``[O, K]``: images of one pixel, ``[R, 1, 1, O]``."""
    depth, stored = body.shapes[weight][1], body.stored[data]
    count = math.prod(body.shapes[data]) // depth
    rows = body.describe(body.reshape(data, count, 1, 1, depth), (count, 1, 1, depth), stored.dtype)
    body.stored[rows] = stored
    return wide_convolution(body, rows, weight, (0, 1), bias, 1, False, (1, 1), (1, 1), function)


def _same(extent: int, taps: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Return the padding before and behind an axis for as many windows as there are strides in it."""
    total = max((-(-extent // stride) - 1) * stride + (taps - 1) * dilation + 1 - extent, 0)
    return total // 2, total - total // 2


Table = Callable[[np.ndarray, Stored, Stored], np.ndarray]
"""``(integers less their zero point, what is said of them, and of the result) -> steps of the result's scale``."""


def of_table(body: OperatorBody, data: str, function: Table) -> str:
    """Write a function of single 8-bit integers as the table of its results.

    ``function`` gives them in steps of the result's scale, zero point included, for integers less their zero point.
    """
    stored, result = body.stored[data], body.results[0]
    _expect(body, data)
    low, high = bounds_of(stored.dtype)
    values = np.arange(low, high + 1, dtype=np.int64) - stored.quantization.zero_point[0]
    table = np.clip(function(values, stored, result), *bounds_of(result.dtype))
    return body(f"{DOMAIN}.LookUp", data, body.constant(table, result.dtype), domain=DOMAIN)


def concatenation(body: OperatorBody, data: Sequence[str], axis: int) -> str:
    """Write ``CONCATENATION`` of 8-bit tensors, those of another scale than the result's requantized."""
    parts = []
    for name in data:
        _expect(body, name)
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


def _with_integer_bits(values: np.ndarray, stored: Stored, bits: int) -> tuple[np.ndarray, int]:
    """Return integers with so many integer bits, and the magnitude from which on they saturate."""
    multiplier, shift = quantized_multiplier(scale_of(stored.quantization) * 2.0 ** (31 - bits))
    radius = math.floor((2**bits - 1) * 2.0 ** (31 - bits) / 2.0**shift)
    inside = np.clip(values, -radius, radius)
    return multiplied(inside, multiplier, shift).astype(np.int64), radius


def logistic(values: np.ndarray, stored: Stored, result: Stored) -> np.ndarray:
    low, high = bounds_of(result.dtype)
    scaled, radius = _with_integer_bits(values, stored, 4)
    found = rounded_shift(gemmlowp.logistic(scaled, 4), 23) + low
    return np.where(values <= -radius, low, np.where(values >= radius, high, found))


def tanh(values: np.ndarray, stored: Stored, result: Stored) -> np.ndarray:
    low, high = bounds_of(result.dtype)
    scaled, radius = _with_integer_bits(values, stored, 4)
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


def mean(body: OperatorBody, data: str, axes: Sequence[int], keep_dims: int) -> str:
    """Write ``MEAN`` of 8 or 16 bits: one rescaling, whose multiplier holds the number of elements."""
    _expect(body, data, dtypes=ANY)
    count = math.prod(body.shapes[data][axis] for axis in axes)
    ratio = scale_of(body.stored[data].quantization) / scale_of(body.results[0].quantization)
    multiplier, shift = quantized_multiplier(ratio)
    own = min(count.bit_length() - 1, 32, 31 + shift)
    total = body("ReduceSum", _centred(body, data), body.constant(list(axes)), keepdims=keep_dims)
    value = _rescaled_by(body, total, (multiplier << own) // count, shift - own)
    return _finished(body, value, bounds_of(body.results[0].dtype))


def prelu(body: OperatorBody, data: str, alpha: str) -> str:
    """Write ``PRELU`` of 8-bit tensors."""
    _expect(body, data, alpha)
    scale, slope = (scale_of(body.stored[name].quantization) for name in (data, alpha))
    out = scale_of(body.results[0].quantization)
    value = _centred(body, data)
    above = rescaled(body, value, scale / out)
    below = rescaled(body, body("Mul", value, _centred(body, alpha)), scale * slope / out)
    positive = body("GreaterOrEqual", value, body.constant(0, "int32"))
    return _finished(body, body("Where", positive, above, below), bounds_of(body.results[0].dtype))


def resize_bilinear(
    body: OperatorBody, data: str, size: Sequence[int], align_corners: int, half_pixel_centers: int
) -> str:
    """Write ``RESIZE_BILINEAR`` of int8 images: places and weights in units of 1/1024."""
    _expect(body, data)
    if body.stored[data].dtype != "int8":
        raise ValueError("its exact integers are known for int8 alone")
    value = body("Cast", data, to=TensorProto.INT32)
    for axis, length in ((1, size[0]), (2, size[1])):
        extent = body.shapes[data][axis]
        step = (1024 * extent + length // 2) // length
        if align_corners and length > 1:
            step = (1024 * (extent - 1) + (length - 1) // 2) // (length - 1)
        places = np.arange(length) * step + (step // 2 - 512 if half_pixel_centers else 0)
        below = np.maximum(np.trunc(places / 1024), 0).astype(np.int64)
        above = np.minimum(np.trunc((places + 1023) / 1024), extent - 1).astype(np.int64)
        share = (places - 1024 * below).reshape(-1, *[1] * (3 - axis))
        parts = [
            body("Mul", body("Gather", value, body.constant(at), axis=axis), body.constant(weight, "int32"))
            for at, weight in ((below, 1024 - share), (above, share))
        ]
        value = body("Add", *parts)
    rounded_up = body("Add", body("Abs", value), body.constant(1 << 19, "int32"))
    magnitude = body("Div", rounded_up, body.constant(1 << 20, "int32"))
    return body("Cast", body("Mul", magnitude, body("Sign", value)), to=TensorProto.INT8)


def quantized(body: OperatorBody, data: str) -> str:
    """Write ``QUANTIZE`` of floats: to the nearest, halves away from 0."""
    stored = body.results[0]
    scale = body.constant(scale_of(stored.quantization), "float32")
    steps = body("Div", data, scale)
    whole = body("Floor", body("Abs", steps))
    rest = body("Sub", body("Abs", steps), whole)
    up = body("Cast", body("GreaterOrEqual", rest, body.constant(0.5, "float32")), to=TensorProto.FLOAT)
    nearest = body("Mul", body("Sign", steps), body("Add", whole, up))
    # Far beyond any integer a float would become none.
    nearest = body.limited(nearest, -(2.0**24), 2.0**24)
    return _finished(body, body("Cast", nearest, to=TensorProto.INT32), bounds_of(stored.dtype))


def refuse(body: OperatorBody, what: Sequence[str]) -> None:
    """Raise ``ValueError`` where exact integers are asked for and the inputs are quantized: they are not known."""
    if body.exact and any(body.stored[name].quantization is not None for name in what if name):
        raise ValueError("its exact integers are not known here; without exactness it is computed in float")
