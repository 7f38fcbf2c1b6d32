"""onnxruntime's operators on quantized tensors (its QOperator format), as the float operator between Q and DQ.

    QLinearAdd(a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)
        -->  QuantizeLinear(Add(DequantizeLinear(a, ..), DequantizeLinear(b, ..)), y_scale, y_zero)

That is what onnxruntime defines them by; its own kernels differ from it by a step where they round twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from .attention import FILTERED, attention_of_product
from .body import Body
from .norms import embed_layer_normalization
from .products import matmul_integer_to_float


def real(body: Body, value: str, scale: str, zero_point: str, axis: int = 1) -> str:
    """Return what a quantized tensor stands for."""
    name = body("DequantizeLinear", value, *_parameters(body, scale, zero_point), axis=axis)
    return body.describe(name, body.shapes[value], "float32")


def quantized(body: Body, value: str, scale: str, zero_point: str, like: str) -> str:
    """Return a float tensor quantized; without a zero point to the dtype of the input ``like``, around 0."""
    zero = [] if zero_point else [body.constant(0, body.inputs[like].dtype)]
    return body("QuantizeLinear", value, *_parameters(body, scale, zero_point), *zero)


def _parameters(body: Body, scale: str, zero_point: str) -> list[str]:
    """Return the inputs that say what integers stand for; a zero point may be left out."""
    return [_one(body, name) for name in (scale, zero_point) if name]


def _one(body: Body, name: str) -> str:
    """Return a scale or zero point of one element as a scalar, which no axis is looked for for."""
    shape, value = body.shapes[name], body.inputs[name].value
    if shape == () or int(np.prod(shape)) != 1:
        return name
    return body.reshape(name) if value is None else body.constant(value.reshape(()), body.inputs[name].dtype)


def q_gemm(
    body: Body, a: str, a_scale: str, a_zero: str, b: str, b_scale: str, b_zero: str, c: str = "",
    y_scale: str = "", y_zero: str = "", *, alpha: float = 1.0,
    transA: int = 0, transB: int = 0,  # noqa: N803 (onnxruntime's names)
) -> str:  # fmt: skip
    axis = 0 if transB else 1
    operands = [real(body, a, a_scale, a_zero), real(body, b, b_scale, b_zero, axis)]
    if c:
        operands.append(_bias(body, c, a_scale, b_scale, alpha))
    product = body("Gemm", *operands, alpha=alpha, transA=transA, transB=transB)
    return quantized(body, product, y_scale, y_zero, a) if y_scale else product


def _bias(body: Body, bias: str, a_scale: str, b_scale: str, alpha: float) -> str:
    """Return an int32 bias, whose scale is that of the sums of products."""
    scale_a, scale_b = (body.inputs[name].value for name in (a_scale, b_scale))
    if scale_a is None or scale_b is None:
        raise ValueError("the scales of its operands must be constant")
    product = np.float32(alpha) * scale_a.reshape(-1) * scale_b.reshape(-1)
    scale = body.constant(product if product.size > 1 else product.reshape(()), "float32")
    return body("DequantizeLinear", bias, scale, axis=max(len(body.shapes[bias]) - 1, 0))


def q_linear_binary(
    operator: str, body: Body, a: str, a_scale: str, a_zero: str, b: str, b_scale: str, b_zero: str,
    y_scale: str, y_zero: str = "",
) -> str:  # fmt: skip
    """Write the body of ``QLinearAdd`` or ``QLinearMul``."""
    result = body(operator, real(body, a, a_scale, a_zero), real(body, b, b_scale, b_zero))
    return quantized(body, result, y_scale, y_zero, a)


q_linear_add, q_linear_mul = (partial(q_linear_binary, operator) for operator in ("Add", "Mul"))


def q_linear_unary(
    operator: str, body: Body, x: str, x_scale: str, x_zero: str, y_scale: str, y_zero: str = "", **attributes
) -> str:
    """Write the body of an operator of one input whose attributes are those of the float one."""
    return quantized(body, body(operator, real(body, x, x_scale, x_zero), **attributes), y_scale, y_zero, x)


q_linear_sigmoid, q_linear_leaky_relu = (partial(q_linear_unary, op) for op in ("Sigmoid", "LeakyRelu"))


def q_linear_pool(
    operator: str, body: Body, x: str, x_scale: str, x_zero: str, y_scale: str, y_zero: str = "", *,
    channels_last: int = 0, **attributes,
) -> str:  # fmt: skip
    """Write the body of a pooling whose channels may be the last axis."""
    values = real(body, x, x_scale, x_zero)
    rank, is_last = len(body.shapes[x]), bool(channels_last)
    pooled = between_channels_first(
        body, values, rank, is_last, lambda data: body(operator, data, **attributes)
    )
    return quantized(body, pooled, y_scale, y_zero, x)


q_linear_average_pool, q_linear_global_average_pool = (
    partial(q_linear_pool, operator) for operator in ("AveragePool", "GlobalAveragePool")
)


def between_channels_first(
    body: Body, value: str, rank: int, is_last: bool, operator: Callable[[str], str]
) -> str:
    """Apply an operator that has channels in front of rows and columns, to data where they may be the last axis."""
    if not is_last:
        return operator(value)
    spatial = list(range(1, rank - 1))
    first = body("Transpose", value, perm=[0, rank - 1, *spatial])
    return body("Transpose", operator(first), perm=[0, *(axis + 1 for axis in spatial), 1])


def q_linear_conv(
    body: Body, x: str, x_scale: str, x_zero: str, w: str, w_scale: str, w_zero: str, y_scale: str, y_zero: str,
    bias: str = "", *, channels_last: int = 0, **attributes,
) -> str:  # fmt: skip
    def product(data: str) -> str:
        operands = (data, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *filter(None, [bias]))
        return body("QLinearConv", *operands, **attributes)

    return between_channels_first(body, x, len(body.shapes[x]), bool(channels_last), product)


def nhwc_max_pool(body: Body, x: str, **attributes) -> str:
    return between_channels_first(
        body, x, len(body.shapes[x]), True, lambda data: body("MaxPool", data, **attributes)
    )


def q_linear_concat(body: Body, y_scale: str, y_zero: str, *parts: str, axis: int) -> str:
    if not parts or len(parts) % 3:
        raise ValueError(f"it has {len(parts)} inputs behind y_zero_point; expected three for each tensor")
    values = [real(body, *triple) for triple in zip(parts[::3], parts[1::3], parts[2::3], strict=True)]
    return quantized(body, body("Concat", *values, axis=axis), y_scale, y_zero, parts[0])


def q_linear_softmax(
    body: Body,
    x: str,
    x_scale: str,
    x_zero: str,
    y_scale: str,
    y_zero: str = "",
    *,
    opset: int,
    axis: int = -1,
) -> str:
    values, shape = real(body, x, x_scale, x_zero), body.shapes[x]
    if opset >= 13:
        return quantized(body, body("Softmax", values, axis=axis), y_scale, y_zero, x)
    cut = axis % len(shape)  # until then all axes from this one on are one
    rows = body.reshape(values, int(np.prod(shape[:cut])), int(np.prod(shape[cut:])))
    return quantized(body, body.reshape(body("Softmax", rows, axis=1), *shape), y_scale, y_zero, x)


def q_linear_reduce_mean(
    body: Body, x: str, x_scale: str, x_zero: str, y_scale: str, y_zero: str = "", *,
    axes: Sequence[int] = (), keepdims: int = 1,
) -> str:  # fmt: skip
    along = [body.constant(list(axes))] if axes else []
    mean = body("ReduceMean", real(body, x, x_scale, x_zero), *along, keepdims=keepdims)
    return quantized(body, mean, y_scale, y_zero, x)


def q_linear_where(
    body: Body, condition: str, x: str, x_scale: str, x_zero: str, y: str, y_scale: str, y_zero: str,
    z_scale: str, z_zero: str,
) -> str:  # fmt: skip
    chosen = body("Where", condition, real(body, x, x_scale, x_zero), real(body, y, y_scale, y_zero))
    return quantized(body, chosen, z_scale, z_zero, x)


def q_attention(
    body: Body, x: str, weight: str, bias: str, x_scale: str, weight_scale: str, mask: str = "",
    x_zero: str = "", weight_zero: str = "", past: str = "", *,
    num_heads: int, unidirectional: int = 0, scale: float = 0.0, mask_filter_value: float = FILTERED,
    do_rotary: int = 0, past_present_share_buffer: int = 0,
) -> tuple[str, ...]:  # fmt: skip
    if do_rotary or past_present_share_buffer:
        raise ValueError("do_rotary and past_present_share_buffer are not supported")
    if body.inputs[x_scale].value is None:  # found while the model runs, by a DynamicQuantizeLinear
        scales = _one(body, x_scale), _one(body, weight_scale)
        product = matmul_integer_to_float(body, x, weight, *scales, x_zero, weight_zero, bias)
    else:
        operands = real(body, x, x_scale, x_zero), real(body, weight, weight_scale, weight_zero)
        product = body.sum(body("MatMul", *operands), bias)
    return attention_of_product(
        *(body, product, body.shapes[x], body.shapes[weight][1], mask, past, ""),
        num_heads=num_heads, unidirectional=unidirectional, scale=scale, mask_filter_value=mask_filter_value,
    )  # fmt: skip


def q_embed_layer_normalization(
    body: Body, ids: str, segments: str, words: str, positions: str, segment_rows: str, gamma: str, beta: str,
    mask: str, *parameters: str, **attributes,
) -> tuple[str, ...]:  # fmt: skip
    if len(parameters) != 10:
        raise ValueError(f"it has {len(parameters)} scales and zero points; expected 10")
    given = words, positions, segment_rows, gamma, beta
    words, positions, segment_rows, gamma, beta = (
        real(body, table, scale, zero_point) if table else ""
        for table, scale, zero_point in zip(given, parameters[:5], parameters[5:], strict=True)
    )
    return embed_layer_normalization(
        body, ids, segments, words, positions, segment_rows, gamma, beta, mask, **attributes
    )


def quantize_linear(body: Body, x: str, scale: str, zero_point: str = "", *, axis: int = 1) -> str:
    """Write ``com.microsoft.QuantizeLinear``, ONNX's own of a later version."""
    return body("QuantizeLinear", x, *_parameters(body, scale, zero_point), axis=axis)


def dequantize_linear(body: Body, x: str, scale: str, zero_point: str = "", *, axis: int = 1) -> str:
    """Write ``com.microsoft.DequantizeLinear``, ONNX's own of a later version."""
    return real(body, x, scale, zero_point, axis)
