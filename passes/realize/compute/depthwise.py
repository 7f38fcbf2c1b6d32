"""Depthwise convolution: every channel with its own kernel.

    data --(pad)--> rows --(sum over the kernel)--> accumulator --(epilogue)--> result

Channels are the vector axis, in blocks of ``lanes``; weights are packed [KH, KW, C/lanes, lanes].

Where products may be added in a narrower dtype, as many of one kernel's as the weights allow are widened together.

Where the target multiplies and adds several numbers within a lane, the rows of the image that one output row reads
are brought side by side first, as many as the instruction takes, and serve several output rows at once:

    data --(pad)--> rows --(interleave)--> groups --(sum over kernel columns)--> accumulator --(epilogue)--> result

Of each group an output row uses those rows that its kernel covers; the others meet zeros in the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add

import numpy as np
from tvm import te, tirx

from ...hub.arithmetic import bounds_of, largest_sums
from ...hub.packing import ceil_div, padded_rows
from .annotations import HELD, KERNEL, PHASES
from .contraction import Conv2d, finish, or_outside
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
    narrow: NarrowSums | None = None,
    epilogue: Epilogue | None = None,
) -> te.Tensor:
    """Return the depthwise convolution of NHWC data with weights packed by ``pack_depthwise``.

    Parameters
    ----------
    data : (N, H, W, C).
    weight : (KH, KW, C/lanes, lanes).
    arrays : with an epilogue: offset and multiplier, both (C/lanes * lanes,), then its operands.
    narrow : what is added before it goes to the accumulator; None where each product does.

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

    def product(index: Sequence[tirx.Expr], tap_h: tirx.Expr | int, tap_w: tirx.Expr | int, dtype: str):
        n, h, w, block, lane = index
        row, column = h * stride_h + tap_h * dilation_h, w * stride_w + tap_w * dilation_w
        value, factor = source[n, row, column, block * lanes + lane], weight[tap_h, tap_w, block, lane]
        return value.astype(dtype) * factor.astype(dtype)

    taps_h, taps_w = (
        te.reduce_axis((0, extent), name) for extent, name in ((kernel_h, "kh"), (kernel_w, "kw"))
    )

    def one_by_one(*index: tirx.Expr) -> tirx.Expr:
        return te.sum(product(index, taps_h, taps_w, accumulator_dtype), axis=[taps_h, taps_w])

    def together(narrow: NarrowSums, *index: tirx.Expr) -> tirx.Expr:
        taps = [(tap_h, tap_w) for tap_h in range(kernel_h) for tap_w in range(kernel_w)]
        sums = [
            _total([product(index, *tap, narrow.dtype) for tap in taps[first : first + narrow.taps]])
            for first in range(0, len(taps), narrow.taps)
        ]
        once = te.reduce_axis((0, 1), "k")
        return te.sum(_total([each.astype(accumulator_dtype) for each in sums]), axis=once)

    define, marks = one_by_one, {}
    if narrow is not None:
        define, marks = partial(together, narrow), {HELD: min(kernel_h * kernel_w, MOST_HELD)}
    attrs = {KERNEL: "depthwise", **marks}
    accumulator = te.compute((batch, out_h, rows, blocks, lanes), define, name="accumulator", attrs=attrs)

    def position(index):
        n, h, w, channel = index
        return [n, h, w, channel // lanes, channel % lanes], channel, index

    return finish(accumulator, (batch, out_h, out_w, channels), position, arrays, epilogue)


FEW_TAPS = 9
"""Of a kernel, at most, that is faster without a padded copy: each output then reads all of its inputs again."""


def unpadded_conv2d(data: te.Tensor, weight: te.Tensor, *, geometry: Conv2d) -> te.Tensor:
    """Return the depthwise convolution (N, OH, OW, C) of data (N, H, W, C) of floats with a weight (KH, KW, C).

    Taps that see padding are left out, so data are read as they lie.
    """
    batch, height, width, channels = (int(extent) for extent in data.shape)
    right, (down, across) = geometry.padding[3], geometry.strides

    def body(n, h, w, channel):
        total = tirx.const(0, "float32")
        for i in range(geometry.kernel[0]):
            for j in range(geometry.kernel[1]):
                row, column, conditions = geometry.locate(
                    h * down + i * geometry.dilation[0],
                    w * across + j * geometry.dilation[1],
                    *(height, width, width + right),
                )
                product = data(n, row, column, channel) * weight(i, j, channel)
                total = total + or_outside(product, conditions)
        return total

    shape = (batch, *geometry.out_size(height, width), channels)
    return te.compute(shape, body, name="result", attrs={PHASES: [1, 1]})


MOST_HELD = 12
"""Weights that stay in registers beside a tile; those of larger kernels come from the cache each time."""


def _total(terms: Sequence[tirx.Expr]) -> tirx.Expr:
    return reduce(add, terms)


@dataclass(frozen=True)
class NarrowSums:
    """Sums of neighbouring products of a kernel in a dtype that none of them leaves.

    Attributes
    ----------
    taps : products a sum, the last of a kernel maybe of fewer.
    dtype : of the sums.
    """

    taps: int
    dtype: str

    @classmethod
    def of(cls, weight: np.ndarray, bounds: tuple[int, int], dtype: str) -> NarrowSums:
        """Return the longest sums for an [C, 1, KH, KW] weight and activations within bounds, 0 between them."""
        flat = weight.reshape(len(weight), -1)

        def largest(taps: int) -> int:
            groups = np.pad(flat, ((0, 0), (0, -flat.shape[1] % taps))).reshape(len(flat), -1, taps)
            return int(largest_sums(groups, (-1,), bounds).max(initial=0))

        fitting = (taps for taps in range(flat.shape[1], 1, -1) if largest(taps) <= bounds_of(dtype)[1])
        return cls(next(fitting, 1), dtype)


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
