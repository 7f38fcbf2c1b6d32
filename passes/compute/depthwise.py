"""Depthwise convolution: every channel with its own kernel.

    data --(pad)--> rows --(sum over the kernel)--> accumulator --(epilogue)--> result

Channels are the vector axis, in blocks of ``lanes``; weights are packed [KH, KW, C/lanes, lanes].
"""

from __future__ import annotations

import numpy as np
from tvm import te, tirx

from .annotations import KERNEL
from .contraction import Conv2d, finish
from .epilogue import Epilogue
from .packing import ceil_div, padded_rows


def pack_depthwise(weight: np.ndarray, lanes: int) -> np.ndarray:
    """Return an [C, 1, KH, KW] weight as [KH, KW, C/lanes, lanes], padded with zeros."""
    channels, _, kernel_h, kernel_w = weight.shape
    blocks = ceil_div(channels, lanes)
    padded = np.pad(weight[:, 0], ((0, blocks * lanes - channels), (0, 0), (0, 0)))
    return np.ascontiguousarray(padded.transpose(1, 2, 0).reshape(kernel_h, kernel_w, blocks, lanes))


def depthwise_conv2d(
    data: te.Tensor,
    weight: te.Tensor,
    *arrays: te.Tensor,
    geometry: Conv2d,
    accumulator_dtype: str = "int32",
    epilogue: Epilogue | None = None,
) -> te.Tensor:
    """Return the depthwise convolution of NHWC data with weights packed by ``pack_depthwise``.

    Parameters
    ----------
    data : (N, H, W, C).
    weight : (KH, KW, C/lanes, lanes).
    arrays : with an epilogue: offset and multiplier, both (C/lanes * lanes,), then its operands.

    Returns
    -------
    (N, OH, OW, C) in the epilogue's dtype; the accumulator itself without one.
    """
    batch, height, width, channels = (int(extent) for extent in data.shape)
    kernel_h, kernel_w, blocks, lanes = (int(extent) for extent in weight.shape)
    out_h, out_w = geometry.out_size(height, width)
    rows = padded_rows(out_w)
    stride_h, stride_w = geometry.strides
    dilation_h, dilation_w = geometry.dilation
    top, _, bottom, _ = geometry.padding
    span_w = (rows - 1) * stride_w + (kernel_w - 1) * dilation_w + 1
    source = data

    if any(geometry.padding) or span_w > width or channels != blocks * lanes:

        def body(n, h, w, channel):
            row, column, conditions = geometry.locate(h, w, height, width, span_w)
            if channels != blocks * lanes:
                conditions.append(channel < channels)
            outside = tirx.const(geometry.pad_value, data.dtype)
            return tirx.if_then_else(tirx.all(*conditions), data[n, row, column, channel], outside)

        source = te.compute((batch, height + top + bottom, span_w, blocks * lanes), body, name="rows")

    taps_h = te.reduce_axis((0, kernel_h), "kh")
    taps_w = te.reduce_axis((0, kernel_w), "kw")

    def product(n, h, w, block, lane):
        value = source[
            n,
            h * stride_h + taps_h * dilation_h,
            w * stride_w + taps_w * dilation_w,
            block * lanes + lane,
        ]
        factor = weight[taps_h, taps_w, block, lane]
        return te.sum(
            value.astype(accumulator_dtype) * factor.astype(accumulator_dtype), axis=[taps_h, taps_w]
        )

    accumulator = te.compute(
        (batch, out_h, rows, blocks, lanes), product, name="accumulator", attrs={KERNEL: "depthwise"}
    )

    def position(index):
        n, h, w, channel = index
        return [n, h, w, channel // lanes, channel % lanes], channel, index

    return finish(accumulator, (batch, out_h, out_w, channels), position, arrays, epilogue)
