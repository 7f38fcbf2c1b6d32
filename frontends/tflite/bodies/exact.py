"""Operators on integers as TFLite's reference kernels compute them, bit by bit.

    ADD(a, b)  -->  a' = rescaled((a - zero_a) << 20),  b' alike,  y = clip(rescaled(a' + b') + zero_y)

What only moves or selects integers needs nothing of its own, and products have their integers beside the graph
(``requantization.py``); functions of single integers are in ``tables.py``, products of 16 bits in ``wide.py``.
Definitions: ``tensorflow/lite/kernels/internal/reference`` of TFLite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto
from tflite import ActivationFunctionType

from ....passes.hub.arithmetic import bounds_of
from ....passes.hub.fixed_point import multiplied, quantized_multiplier
from .. import gemmlowp
from ..body import LIMITS, OperatorBody, Stored
from ..file import Quantization
from ..own_operators import DOMAIN

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


def centred(body: OperatorBody, name: str) -> str:
    """Return an input's integers less its zero point, as int32."""
    value = body("Cast", name, to=TensorProto.INT32)
    zero = body.stored[name].quantization.zero_point[0]
    return body("Sub", value, body.constant(zero, "int32")) if zero else value


def rescaled(body: OperatorBody, value: str, ratio: float) -> str:
    """Return int32 times a ratio of scales."""
    return _rescaled_by(body, value, *quantized_multiplier(ratio))


def _rescaled_by(body: OperatorBody, value: str, multiplier: int, shift: int) -> str:
    return body(f"{DOMAIN}.Rescale", value, multiplier=multiplier, shift=shift, domain=DOMAIN)


def finished(body: OperatorBody, value: str, limits: tuple[int, int]) -> str:
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
    expect(body, left, right, dtypes=ANY)
    scales = [scale_of(body.stored[name].quantization) for name in (left, right)]
    most, bits = 2.0 * max(scales), 15 if body.results[0].dtype == "int16" else 20
    terms = [
        rescaled(body, body("Mul", centred(body, name), body.constant(1 << bits, "int32")), scale / most)
        for name, scale in zip((left, right), scales, strict=True)
    ]
    ratio = most / ((1 << bits) * scale_of(body.results[0].quantization))
    total = rescaled(body, body(operator, *terms), ratio)
    return finished(body, total, integer_limits(body.results[0], function))


def product_of(body: OperatorBody, left: str, right: str, function: int) -> str:
    """Write ``MUL`` of tensors of 8 or 16 bits."""
    expect(body, left, right, dtypes=ANY)
    scales = [scale_of(body.stored[name].quantization) for name in (left, right)]
    ratio = scales[0] * scales[1] / scale_of(body.results[0].quantization)
    value = rescaled(body, body("Mul", centred(body, left), centred(body, right)), ratio)
    return finished(body, value, integer_limits(body.results[0], function))


def expect(body: OperatorBody, *names: str, dtypes: Sequence[str] = SHORT) -> None:
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
    expect(body, data)
    pads = [
        same_padding(*each) if is_same else (0, 0)
        for each in zip(body.shapes[data][1:3], size, strides, strict=True)
    ]
    before, after = zip(*pads, strict=True)
    low, high = integer_limits(body.results[0], function)
    return body(
        f"{DOMAIN}.AveragePool", data, domain=DOMAIN, kernel_shape=size, strides=strides, pads=(*before, *after),
        lower=low, upper=high,
    )  # fmt: skip


def same_padding(extent: int, taps: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Return the padding before and behind an axis for as many windows as there are strides in it."""
    total = max((-(-extent // stride) - 1) * stride + (taps - 1) * dilation + 1 - extent, 0)
    return total // 2, total - total // 2


def with_integer_bits(values: np.ndarray, scale: float, bits: int) -> tuple[np.ndarray, int]:
    """Return integers of a scale with so many integer bits, and the magnitude from which on they saturate."""
    multiplier, shift = quantized_multiplier(scale * 2.0 ** (31 - bits))
    radius = math.floor((2**bits - 1) * 2.0 ** (31 - bits) / 2.0**shift)
    return multiplied(np.clip(values, -radius, radius), multiplier, shift).astype(np.int64), radius


def softmax(body: OperatorBody, data: str, beta: float) -> str:
    """Write ``SOFTMAX`` of 8-bit rows, whose exponentials have 5 integer bits."""
    expect(body, data)
    low, _ = bounds_of(body.results[0].dtype)
    quantization = body.results[0].quantization
    if body.results[0].dtype != body.stored[data].dtype or quantization.zero_point[0] != low:
        raise ValueError("its result's dtype and zero point are none that exact integers are supported for")
    if quantization.scale[0] != 1 / 256:
        raise ValueError(f"its result's scale is {quantization.scale[0]:g}, and exact integers have 1/256")
    bits = 5
    ratio = float(np.float32(beta)) * scale_of(body.stored[data].quantization)
    ratio = min(ratio, (2.0**31 - 1) / 2.0 ** (31 - bits))  # beyond it the multiplier has no bits
    distance = np.arange(256)
    scaled, radius = with_integer_bits(-distance, ratio, bits)
    table = np.where(distance <= radius, gemmlowp.exponential(scaled, bits), 0)
    return body(f"{DOMAIN}.Softmax", data, body.constant(table, "int32"), domain=DOMAIN)


def mean(body: OperatorBody, data: str, axes: Sequence[int], keep_dims: int) -> str:
    """Write ``MEAN`` of 8 or 16 bits: one rescaling, whose multiplier holds the number of elements."""
    expect(body, data, dtypes=ANY)
    count = math.prod(body.shapes[data][axis] for axis in axes)
    ratio = scale_of(body.stored[data].quantization) / scale_of(body.results[0].quantization)
    multiplier, shift = quantized_multiplier(ratio)
    own = min(count.bit_length() - 1, 32, 31 + shift)
    total = body("ReduceSum", centred(body, data), body.constant(list(axes)), keepdims=keep_dims)
    value = _rescaled_by(body, total, (multiplier << own) // count, shift - own)
    return finished(body, value, bounds_of(body.results[0].dtype))


def prelu(body: OperatorBody, data: str, alpha: str) -> str:
    """Write ``PRELU`` of 8-bit tensors."""
    expect(body, data, alpha)
    scale, slope = (scale_of(body.stored[name].quantization) for name in (data, alpha))
    out = scale_of(body.results[0].quantization)
    value = centred(body, data)
    above = rescaled(body, value, scale / out)
    below = rescaled(body, body("Mul", value, centred(body, alpha)), scale * slope / out)
    positive = body("GreaterOrEqual", value, body.constant(0, "int32"))
    return finished(body, body("Where", positive, above, below), bounds_of(body.results[0].dtype))


def resize_bilinear(
    body: OperatorBody, data: str, size: Sequence[int], align_corners: int, half_pixel_centers: int
) -> str:
    """Write ``RESIZE_BILINEAR`` of int8 images: places and weights in units of 1/1024."""
    expect(body, data)
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
    return finished(body, body("Cast", nearest, to=TensorProto.INT32), bounds_of(stored.dtype))
