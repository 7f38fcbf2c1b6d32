"""Operators that multiply by weights.

    CONV_2D(x [N,H,W,C], w [O,KH,KW,C], b [O])  -->  Conv of channels first, an activation, Q

Weights keep their integers; their axes come in ONNX's order.
"""

from __future__ import annotations

from tflite import Padding

from ..body import OperatorBody
from ..own_operators import DOMAIN
from . import wide


def auto_pad(padding: int) -> str:
    """Return ONNX's word for a way of padding."""
    return "SAME_UPPER" if padding == Padding.SAME else "VALID"


def conv_2d(
    body: OperatorBody, data: str, weight: str, bias: str = "", *, padding: int = 0, stride_w: int = 1,
    stride_h: int = 1, fused_activation_function: int = 0, dilation_w_factor: int = 1, dilation_h_factor: int = 1, **_,
) -> str:  # fmt: skip
    _expect_ranks(body, data, weight)
    channels, depth = body.shapes[data][-1], body.shapes[weight][-1]
    if not depth or channels % depth:
        raise ValueError(f"its data has {channels} channels and its weight {depth}")
    return _convolution(
        *(body, data, weight, (0, 3, 1, 2), bias, channels // depth, padding),
        *((stride_h, stride_w), (dilation_h_factor, dilation_w_factor), fused_activation_function),
    )


def depthwise_conv_2d(
    body: OperatorBody, data: str, weight: str, bias: str = "", *, padding: int = 0, stride_w: int = 1,
    stride_h: int = 1, fused_activation_function: int = 0, dilation_w_factor: int = 1, dilation_h_factor: int = 1, **_,
) -> str:  # fmt: skip
    _expect_ranks(body, data, weight)
    return _convolution(
        *(body, data, weight, (3, 0, 1, 2), bias, body.shapes[data][-1], padding),
        *((stride_h, stride_w), (dilation_h_factor, dilation_w_factor), fused_activation_function),
    )


def _expect_ranks(body: OperatorBody, data: str, weight: str) -> None:
    for name, what in ((data, "data"), (weight, "weight")):
        if len(body.shapes[name]) != 4:
            raise ValueError(
                f"its {what} has the shape {list(body.shapes[name])}, and four axes were expected"
            )


def _convolution(
    body: OperatorBody, data: str, weight: str, order: tuple[int, ...], bias: str, groups: int, padding: int,
    strides: tuple[int, int], dilations: tuple[int, int], function: int,
) -> str:  # fmt: skip
    """Write a convolution; ``order`` brings the axes of its weight into ONNX's."""
    if wide.is_wide(body, data):
        is_same = padding == Padding.SAME
        return wide.wide_convolution(
            body, data, weight, order, bias, groups, is_same, strides, dilations, function
        )
    filters = body.permuted(weight, order)

    def on_channels_first(image: str) -> str:
        value = body(
            *("Conv", image, filters, *([body.real(bias)] if bias else [])),
            auto_pad=auto_pad(padding), strides=strides, dilations=dilations, group=groups,
        )  # fmt: skip
        return body.activated(value, function)

    return body.result_of_image(data, on_channels_first)


def fully_connected(
    body: OperatorBody, data: str, weight: str, bias: str = "", *, fused_activation_function: int = 0,
    weights_format: int = 0, keep_num_dims: int = 0, asymmetric_quantize_inputs: int = 0, **_,
) -> str:  # fmt: skip
    if weights_format:
        raise ValueError("its weights are in a shuffled format, which is not supported")
    if len(body.shapes[weight]) != 2:
        raise ValueError(f"its weight has the shape {list(body.shapes[weight])}, and two axes were expected")
    depth = body.shapes[weight][1]
    if wide.is_wide(body, data):
        product = wide.wide_product(body, data, weight, bias, fused_activation_function)
        lead = body.shapes[data][:-1] if keep_num_dims else (-1,)
        return body.reshape(product, *lead, body.shapes[weight][0])
    rows = body.real(data)
    if not keep_num_dims or body.shapes[data][-1] != depth:
        rows = body.reshape(rows, -1, depth)
    if body.stored[data].quantization is None and body.stored[weight].quantization is not None:
        # A "hybrid" operator: its data are quantized row by row while the model runs.
        symmetric = int(not asymmetric_quantize_inputs)
        rows = body(f"{DOMAIN}.DynamicRows", rows, symmetric=symmetric, domain=DOMAIN)
    product = body("MatMul", rows, body.permuted(weight, (1, 0)))
    if bias:
        product = body("Add", product, body.real(bias))
    return body.result(body.activated(product, fused_activation_function))


def transpose_conv(
    body: OperatorBody, shape: str, weight: str, data: str, bias: str = "", *, padding: int = 0, stride_w: int = 1,
    stride_h: int = 1, fused_activation_function: int = 0, **_,
) -> str:  # fmt: skip
    _expect_ranks(body, data, weight)
    out = [int(extent) for extent in body.known(shape, "output shape")][1:3]
    extents, kernel = body.shapes[data][1:3], body.shapes[weight][1:3]
    pads = [
        _cut_off((extent - 1) * stride + taps - length, padding == Padding.SAME)
        for extent, stride, taps, length in zip(extents, (stride_h, stride_w), kernel, out, strict=True)
    ]
    before, after, added = zip(*pads, strict=True)

    def on_channels_first(image: str) -> str:
        value = body(
            *("ConvTranspose", image, body.permuted(weight, (3, 0, 1, 2)), *([body.real(bias)] if bias else [])),
            strides=(stride_h, stride_w), pads=(*before, *after), output_padding=added,
        )  # fmt: skip
        return body.activated(value, fused_activation_function)

    return body.result_of_image(data, on_channels_first)


def _cut_off(surplus: int, is_same: bool) -> tuple[int, int, int]:
    """Return what is cut off before and behind a result that is larger than asked for, and what is added behind."""
    before = max(surplus, 0) // 2 if is_same else 0
    after = surplus - before
    return before, max(after, 0), max(-after, 0)


def batch_matmul(body: OperatorBody, left: str, right: str, *, adj_x: int = 0, adj_y: int = 0, **_) -> str:
    return body.result(body("MatMul", _adjoint(body, left, adj_x), _adjoint(body, right, adj_y)))


def _adjoint(body: OperatorBody, name: str, is_adjoint: int) -> str:
    if not is_adjoint:
        return body.real(name)
    axes = list(range(len(body.shapes[name])))
    return body.permuted(name, (*axes[:-2], axes[-1], axes[-2]))


def conv_3d(
    body: OperatorBody, data: str, weight: str, bias: str = "", *, padding: int = 0, stride_d: int = 1,
    stride_w: int = 1, stride_h: int = 1, fused_activation_function: int = 0, dilation_d_factor: int = 1,
    dilation_w_factor: int = 1, dilation_h_factor: int = 1, **_,
) -> str:  # fmt: skip
    first = body("Transpose", body.real(data), perm=[0, 4, 1, 2, 3])
    value = body(
        *("Conv", first, body.permuted(weight, (4, 3, 0, 1, 2)), *([body.real(bias)] if bias else [])),
        auto_pad=auto_pad(padding), strides=(stride_d, stride_h, stride_w),
        dilations=(dilation_d_factor, dilation_h_factor, dilation_w_factor),
    )  # fmt: skip
    last = body("Transpose", body.activated(value, fused_activation_function), perm=[0, 2, 3, 4, 1])
    return body.result(last)
