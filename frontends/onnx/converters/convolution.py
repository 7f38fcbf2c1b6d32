"""ONNX's convolutions with their padding written out.

Conv(x, w, b, auto_pad)               -->  conv(x, w, pads) + b [1, C, 1, ..]
ConvTranspose(x, w, b, output_shape)  -->  conv_transpose(x, w, pads) + b
Col2Im(x)                             -->  conv_transpose(x, one weight a tap)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
from .elementwise import number
from .windows import explicit_pads

Inputs = list[relax.Expr | None]
Attributes = dict[str, Any]


class Conv(stock.Conv):
    """x * w + b with explicit pads; a constant bias becomes one of shape (1, C, 1, ...)."""

    @classmethod
    def _impl_v11(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        data, weight, bias = inputs[0], inputs[1], inputs[2]
        kernel = tuple(attr.get("kernel_shape", shape_of(weight)[2:]))
        attr = {**attr, "kernel_shape": kernel, "pads": explicit_pads(data, kernel, attr)}
        attr.pop("auto_pad", None)
        product = super()._impl_v11(bb, stock.onnx_input([data, weight]), attr, params)
        return _with_bias(bb, product, bias)


def _with_bias(bb, product: relax.Expr, bias: relax.Expr | None) -> relax.Expr:
    """Add a bias [C]; a constant one becomes a constant [1, C, 1, ..]."""
    if bias is None:
        return product
    product = bb.normalize(product)
    shape = (1, -1) + (1,) * (len(shape_of(product)) - 2)
    if is_constant(bias):
        return relax.op.add(product, constant(to_numpy(bias).reshape(shape)))
    return relax.op.add(product, bb.normalize(relax.op.reshape(bias, shape)))


class ConvTranspose(stock.ConvTranspose):
    """A transposed convolution with explicit pads, of the shape that is asked for."""

    @classmethod
    def _impl_v1(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        data, weight, bias = inputs[0], inputs[1], inputs[2]
        kernel = shape_of(weight)[2:]
        pads, missing = transposed_pads(shape_of(data)[2:], kernel, attr)
        attr = {**attr, "kernel_shape": kernel, "pads": pads}
        attr.pop("auto_pad", None)
        product = super()._impl_v1(bb, stock.onnx_input([data, weight]), attr, params)
        if any(missing):
            width = [0, 0, 0, 0, *(count for extent in missing for count in (0, extent))]
            product = relax.op.nn.pad(bb.emit(product), width)
        return _with_bias(bb, product, bias)


def transposed_pads(
    extents: tuple[int, ...], kernel: tuple[int, ...], attr: Attributes
) -> tuple[list[int], list[int]]:
    """Return the pads (begin of each spatial axis, then end of each), and the zeros that are missing at each end.

    Where an output shape is asked for, or by ``SAME_*`` that of input times stride, the pads are what is too much:
    ``stride * (extent - 1) + output_padding + (kernel - 1) * dilation + 1 - wanted``, an odd one at the end for
    ``SAME_UPPER``, else at the begin.
    """
    rank = len(kernel)
    mode = attr.get("auto_pad", b"NOTSET").decode("utf-8")
    strides, dilations = attr.get("strides", [1] * rank), attr.get("dilations", [1] * rank)
    extra = attr.get("output_padding", [0] * rank)
    wanted = attr.get("output_shape")
    if wanted is None and mode.startswith("SAME"):
        wanted = [extent * stride for extent, stride in zip(extents, strides, strict=True)]
    if wanted is None:
        pads = [0] * (2 * rank) if mode == "VALID" else list(attr.get("pads", [0] * (2 * rank)))
        return pads, [0] * rank
    begins, ends, missing = [], [], []
    for n, k, s, d, e, w in zip(extents, kernel, strides, dilations, extra, wanted[-rank:], strict=True):
        total = s * (n - 1) + e + (k - 1) * d + 1 - w
        missing.append(max(-total, 0))
        total = max(total, 0)
        begins.append(total // 2 if mode == "SAME_UPPER" else total - total // 2)
        ends.append(total - begins[-1])
    return begins + ends, missing


class Col2Im(stock.OnnxOpConverter):
    """Sum of the windows [N, C * taps, positions] at their places in the image [N, C, ..]."""

    @classmethod
    def _impl_v18(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        data = inputs[0]
        image, block = (tuple(int(n) for n in to_numpy(operand)) for operand in inputs[1:3])
        rank, taps = len(block), math.prod(block)
        channels = shape_of(data)[1] // taps
        strides, dilations = attr.get("strides", [1] * rank), attr.get("dilations", [1] * rank)
        pads = attr.get("pads", [0] * (2 * rank))
        sides = zip(image, block, strides, dilations, pads[:rank], pads[rank:], strict=True)
        rooms = [n + b + a - (k - 1) * d - 1 for n, k, s, d, b, a in sides]
        positions = [room // s + 1 for room, s in zip(rooms, strides, strict=True)]
        windows = bb.emit(relax.op.reshape(data, (shape_of(data)[0], channels * taps, *positions)))
        one_a_tap = np.tile(np.eye(taps).reshape(taps, 1, *block), (channels, *(1 for _ in range(rank + 1))))
        left_over = [room % s for room, s in zip(rooms, strides, strict=True)]
        attr = {
            "strides": strides, "dilations": dilations, "pads": pads, "group": channels,
            "output_padding": left_over,
        }  # fmt: skip
        weight = constant(one_a_tap.astype(dtype_of(data)))
        return ConvTranspose._impl_v1(bb, stock.onnx_input([windows, weight]), attr, params)


class DeformConv(stock.OnnxOpConverter):
    """A convolution in two dimensions whose taps are moved, each by its own offset at each position."""

    @classmethod
    def _impl_v19(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        data, weight, offset, bias, mask = (inputs[at] for at in range(5))
        if len(shape_of(data)) != 4:
            raise ValueError("only convolutions in two dimensions are supported")
        batch, channels, height, width = shape_of(data)
        filters, depth, *kernel = shape_of(weight)
        rows, columns = shape_of(offset)[2:]
        parts, taps = attr.get("offset_group", 1), math.prod(kernel)
        strides, dilations = attr.get("strides", (1, 1)), attr.get("dilations", (1, 1))
        top, left, *_ = attr.get("pads", (0, 0, 0, 0))
        # Where each tap lies without its offset: [2 (y, x), taps, rows, columns].
        at = np.zeros((2, *kernel, rows, columns))
        at[0] += (np.arange(kernel[0]) * dilations[0] - top)[:, None, None, None] + np.arange(rows)[
            :, None
        ] * strides[0]
        at[1] += (np.arange(kernel[1]) * dilations[1] - left)[:, None, None] + np.arange(columns) * strides[1]
        place = constant(at.reshape(1, 1, 2, taps, rows, columns).astype(dtype_of(data)))
        shifts = bb.emit(relax.op.reshape(offset, (batch, parts, taps, 2, rows, columns)))
        moved = bb.emit(relax.op.add(bb.emit(relax.op.permute_dims(shifts, [0, 1, 3, 2, 4, 5])), place))
        # Sampling wants (x, y), and -1 and 1 for the middles of the first and last pixel.
        sides = [bb.emit(part) for part in _halves(bb, moved)]
        scaled = [
            bb.emit(
                relax.op.subtract(
                    bb.emit(relax.op.multiply(side, number(2 / max(extent - 1, 1), data))), number(1, data)
                )
            )
            for side, extent in zip(sides, (height, width), strict=True)
        ]
        grid = bb.emit(relax.op.concat([scaled[1], scaled[0]], 2))
        images = bb.emit(relax.op.reshape(data, (batch * parts, channels // parts, height, width)))
        flat = bb.emit(relax.op.reshape(grid, (batch * parts, 2, taps * rows, columns)))
        sampled = bb.emit(
            relax.op.image.grid_sample(images, flat, "bilinear", "NCHW", "zeros", align_corners=True)
        )
        shape = (batch, parts, channels // parts, taps, rows, columns)
        sampled = bb.emit(relax.op.reshape(sampled, shape))
        if mask is not None:
            weights = bb.emit(relax.op.reshape(mask, (batch, parts, 1, taps, rows, columns)))
            sampled = bb.emit(relax.op.multiply(sampled, weights))
        sampled = bb.emit(relax.op.reshape(sampled, (batch, channels * taps, rows, columns)))
        if is_constant(weight):
            flat_weight = constant(to_numpy(weight).reshape(filters, depth * taps, 1, 1))
        else:
            flat_weight = bb.emit(relax.op.reshape(weight, (filters, depth * taps, 1, 1)))
        groups = {"group": attr.get("group", 1)}
        return Conv._impl_v11(bb, stock.onnx_input([sampled, flat_weight, bias]), groups, params)


def _halves(bb, moved: relax.Expr) -> list[relax.Expr]:
    return [relax.op.strided_slice(moved, [2], [at], [at + 1]) for at in range(2)]
