"""Depthwise convolution: every channel with its own kernel.

    data --(pad)--> rows --(sum over the kernel)--> accumulator --(epilogue)--> result

Channels are the vector axis, in blocks of ``lanes``; weights are packed [KH, KW, C/lanes, lanes].

Where the target multiplies and adds several numbers within a lane, the rows of the image that one output row reads
are brought side by side first, as many as the instruction takes, and serve several output rows at once:

    data --(pad)--> rows --(interleave)--> groups --(sum over kernel columns)--> accumulator --(epilogue)--> result

Of each group an output row uses those rows that its kernel covers; the others meet zeros in the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from ...hub.packing import ceil_div, padded_rows
from .annotations import KERNEL
from .contraction import Conv2d, finish
from .epilogue import Epilogue


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


MAX_GROUP_ROWS = 4
"""More would leave too few registers for the columns of a tile."""


@dataclass(frozen=True)
class RowGroups:
    """How output rows share input rows that lie side by side.

    Attributes
    ----------
    rows : output rows of one group.
    steps, depth : a group has ``steps * depth`` input rows, ``depth`` an instruction.
    """

    rows: int
    steps: int
    depth: int

    @classmethod
    def of(cls, kernel: int, stride: int, depth: int) -> RowGroups:
        """Return the groups of most output rows that need no more instructions a row than one alone does."""

        def steps(rows: int) -> int:
            return ceil_div((rows - 1) * stride + kernel, depth)

        rows = max(rows for rows in range(1, MAX_GROUP_ROWS + 1) if steps(rows) == steps(1))
        return cls(rows, steps(rows), depth)


def has_row_groups(geometry: Conv2d, most_stride: int) -> bool:
    """Tell whether rows that lie side by side pay: each column of them then serves several columns of the kernel."""
    down, across = geometry.strides
    return down == across <= most_stride and geometry.dilation[0] == 1 and geometry.kernel[0] > 1


def pack_row_groups(weight: np.ndarray, stride: int, groups: RowGroups, lanes: int) -> np.ndarray:
    """Return an [C, 1, KH, KW] weight as [rows, KW, C/lanes, steps, lanes, depth], zero where a row has no tap."""
    channels, _, kernel_h, kernel_w = weight.shape
    blocks = ceil_div(channels, lanes)
    taps = np.pad(weight[:, 0], ((0, blocks * lanes - channels), (0, 0), (0, 0)))
    spread = np.zeros((groups.rows, blocks * lanes, groups.steps * groups.depth, kernel_w), weight.dtype)
    for row in range(groups.rows):
        spread[row, :, row * stride : row * stride + kernel_h] = taps
    split = spread.reshape(groups.rows, blocks, lanes, groups.steps, groups.depth, kernel_w)
    return np.ascontiguousarray(split.transpose(0, 5, 1, 3, 2, 4))


def depthwise_by_row_groups(
    data: te.Tensor,
    weight: te.Tensor,
    *arrays: te.Tensor,
    geometry: Conv2d,
    data_dtype: str,
    epilogue: Epilogue,
) -> te.Tensor:
    """Return the depthwise convolution of NHWC data with weights packed by ``pack_row_groups``.

    Parameters
    ----------
    data : (N, H, W, C).
    weight : (rows, KW, C/lanes, steps, lanes, depth).
    arrays : offset and multiplier, both (C/lanes * lanes,), then the epilogue's operands.
    data_dtype : of the groups.

    Returns
    -------
    (N, OH, OW, C) in the epilogue's dtype.
    """
    batch, height, width, channels = (int(extent) for extent in data.shape)
    group_rows, kernel_w, blocks, steps, lanes, depth = (int(extent) for extent in weight.shape)
    out_h, out_w = geometry.out_size(height, width)
    columns = padded_rows(out_w)
    stride_h, stride_w = geometry.strides
    dilation_w = geometry.dilation[1]
    span_w = (columns - 1) * stride_w + (kernel_w - 1) * dilation_w + 1
    count = ceil_div(out_h, group_rows)
    span_h = (count - 1) * group_rows * stride_h + steps * depth

    def padded(n, h, w, channel):
        row, column, conditions = geometry.locate(h, w, height, width, span_w, span_h)
        if channels != blocks * lanes:
            conditions.append(channel < channels)
        if not conditions:
            return data[n, row, column, channel]
        outside = tirx.const(geometry.pad_value, data.dtype)
        return tirx.if_then_else(tirx.all(*conditions), data[n, row, column, channel], outside)

    source = te.compute((batch, span_h, span_w, blocks * lanes), padded, name="rows")

    def group(n, j, w, block, step, lane, k):
        row = j * (group_rows * stride_h) + step * depth + k
        return source[n, row, w, block * lanes + lane].astype(data_dtype)

    groups = te.compute((batch, count, span_w, blocks, steps, lanes, depth), group, name="groups")
    taps_w = te.reduce_axis((0, kernel_w), "kw")
    step = te.reduce_axis((0, steps), "ko")
    lane_step = te.reduce_axis((0, depth), "ki")

    def product(n, j, row, w, block, lane):
        value = groups[n, j, w * stride_w + taps_w * dilation_w, block, step, lane, lane_step]
        factor = weight[row, taps_w, block, step, lane, lane_step]
        return te.sum(value.astype("int32") * factor.astype("int32"), axis=[taps_w, step, lane_step])

    accumulator = te.compute(
        (batch, count, group_rows, columns, blocks, lanes),
        product,
        name="accumulator",
        attrs={KERNEL: "row groups"},
    )

    def position(index):
        n, h, w, channel = index
        place = [n, h // group_rows, h % group_rows, w, channel // lanes, channel % lanes]
        return place, channel, index

    return finish(accumulator, (batch, out_h, out_w, channels), position, arrays, epilogue)
