"""Convolution and matrix multiplication, over packed weights, with their epilogue.

    data  --(pad, widen)-->  rows  --(sum over kernel and input channels)-->  accumulator  --(epilogue)-->  result

The accumulator has whole register tiles: ``[..., rows, blocks, lanes]`` with padded rows and channels. Its block
carries the annotation that the schedule rule looks for; the rule keeps accumulator and epilogue in registers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import relax, te, tirx

from ...hub.packing import ceil_div, padded_rows
from .annotations import INSIDE, KERNEL, MERGED, START
from .bfloat16 import convert
from .dots import Dot
from .epilogue import Epilogue
from .sums import accumulate
from .weights import factors


@dataclass(frozen=True)
class Conv2d:
    """Geometry of a convolution over NHWC data.

    Attributes
    ----------
    padding : top, left, bottom, right.
    pad_value : what stands outside of the data (the zero point of quantized data).
    """

    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int
    kernel: tuple[int, int]
    out_channels: int
    pad_value: int = 0

    @classmethod
    def of(cls, call: relax.Call, weight_shape: tuple[int, ...], pad_value: int = 0) -> Conv2d:
        """Return the geometry of a ``relax.nn.conv2d`` over NHWC data with an OIHW weight of this shape."""
        attrs = call.attrs
        top, left, bottom, right = (int(width) for width in attrs.padding)
        down, across = (int(step) for step in attrs.strides)
        spread_down, spread_across = (int(step) for step in attrs.dilation)
        out_channels, _, height, width = weight_shape
        return cls(
            strides=(down, across),
            padding=(top, left, bottom, right),
            dilation=(spread_down, spread_across),
            groups=int(attrs.groups),
            kernel=(height, width),
            out_channels=out_channels,
            pad_value=pad_value,
        )

    def locate(
        self, h: tirx.Expr, w: tirx.Expr, height: int, width: int, span_w: int, span_h: int = 0
    ) -> tuple[tirx.Expr, tirx.Expr, list[tirx.Expr]]:
        """Return where position (h, w) of the padded data lies in the data, and when it lies inside.

        ``span_w`` and ``span_h`` are the size of the padded data, which whole tiles may make larger than the padding.
        """
        top, left, bottom, _ = self.padding
        row, column = h - top, w - left
        conditions = []
        if top:
            conditions.append(row >= 0)
        if top or bottom or span_h > height:
            conditions.append(row < height)
        if left:
            conditions.append(column >= 0)
        if left or span_w > width:
            conditions.append(column < width)
        return row, column, conditions

    def span(self, columns: int) -> int:
        """Return the width of the padded data that so many columns of the result read."""
        return (columns - 1) * self.strides[1] + (self.kernel[1] - 1) * self.dilation[1] + 1

    def taps(self, channels: int, depth: int, merged: bool = False) -> tuple[int, int, int]:
        """Return the extents of a sum's loops: rows and columns of the kernel, and groups of ``depth`` numbers.

        Parameters
        ----------
        channels : of the data.
        merged : columns and channels of the kernel are one run.
        """
        height, width = self.kernel
        inner = channels // self.groups
        if merged:
            return height, 1, ceil_div(inner * width, depth)
        return height, width, ceil_div(inner, depth)

    def inside(self, height: int, width: int) -> dict[str, list[int]]:
        """Return the annotation by which padding is left out of the sums, where there is some that adds nothing."""
        if not any(self.padding) or self.pad_value:
            return {}
        top, left, _, _ = self.padding
        down, across = zip(self.strides, self.dilation, (top, left), (height, width), strict=True)
        return {INSIDE: [*down, *across]}

    def out_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the result."""
        top, left, bottom, right = self.padding
        spans = [(extent - 1) * step + 1 for extent, step in zip(self.kernel, self.dilation, strict=True)]
        return (
            (height + top + bottom - spans[0]) // self.strides[0] + 1,
            (width + left + right - spans[1]) // self.strides[1] + 1,
        )


def finish(
    accumulator: te.Tensor,
    shape: Sequence[int],
    locate: Callable[[Sequence[tirx.Expr]], tuple[list[tirx.Expr], tirx.Expr, Sequence[tirx.Expr]]],
    arrays: Sequence[te.Tensor],
    epilogue: Epilogue | None,
) -> te.Tensor:
    """Return the result: each element of the accumulator as the epilogue, where there is one, leaves it.

    ``locate`` maps its index to that of the accumulator, of the per-channel arrays and of the operands.
    """

    started = accumulator if epilogue is None else _started(accumulator, arrays[0])

    def body(*index: tirx.Expr) -> tirx.Expr:
        place, channel, operand_index = locate(index)
        if epilogue is None:
            return accumulator(*place)
        _, multiplier, *operands = arrays
        return epilogue(started(*place), multiplier(channel), operand_index, operands)

    return te.compute(shape, body, name="result")


def _started(accumulator: te.Tensor, offset: te.Tensor) -> te.Tensor:
    """Return the accumulator, ``[..., blocks, lanes]`` or ``[N, groups, ...]`` of these, with its offset added."""
    blocks, lanes = (int(extent) for extent in accumulator.shape[-2:])
    grouped = int(offset.shape[0]) > blocks * lanes

    def body(*index: tirx.Expr) -> tirx.Expr:
        channel = index[-2] * lanes + index[-1]
        if grouped:
            channel = index[1] * (blocks * lanes) + channel
        return accumulator(*index) + offset(channel)

    # Only where all groups share a block's place in the array can the accumulator start from it.
    is_sum = KERNEL in dict(accumulator.op.attrs)
    attrs = {} if grouped or not is_sum else {START: 1}
    return te.compute(accumulator.shape, body, name="started", attrs=attrs)


def _rows(
    data: te.Tensor, geometry: Conv2d, dot: Dot, groups: int, group_depth: int
) -> Callable[..., tirx.Expr]:
    """Return the input by (n, h, w, offset, group, channel): ``offset`` columns behind the first that column w of the
    result reads. It is padded, with ``group_depth`` channels a group; or as it is.
    """
    batch, height, width, channels = (int(extent) for extent in data.shape)
    top, _, bottom, _ = geometry.padding
    columns = padded_rows(geometry.out_size(height, width)[1], dot.rows)
    group_in, span_w = channels // groups, geometry.span(columns)
    exact, stride = group_in == group_depth, geometry.strides[1]
    has_neighbours = dot.rows == 1 or stride == 1
    is_whole = exact and not any(geometry.padding) and span_w <= width
    if is_whole and has_neighbours and data.dtype == dot.data_dtype:
        return lambda n, h, w, offset, group, channel: data(
            n, h, w * stride + offset, group * group_in + channel
        )
    if not has_neighbours:
        span_w = ceil_div(span_w, stride) * stride

    def body(n, h, w, group, channel):
        row, column, conditions = geometry.locate(h, w, height, width, span_w)
        if not exact:
            conditions.append(channel < group_in)
        value = convert(data(n, row, column, group * group_in + channel), dot.data_dtype)
        return or_outside(value, conditions, geometry.pad_value)

    shape = (batch, height + top + bottom, max(span_w, 1), groups, group_depth)
    if dot.rows == 1:
        rows = te.compute(shape, body, name="rows")
        return lambda n, h, w, offset, group, channel: rows(n, h, w * stride + offset, group, channel)
    # The instruction reads neighbours, and nothing between them: columns of one remainder by the stride lie together.
    apart = te.compute(
        (*shape[:2], stride, ceil_div(shape[2], stride), group_depth),
        lambda n, h, remainder, w, channel: body(n, h, w * stride + remainder, 0, channel),
        name="rows",
    )
    return lambda n, h, w, offset, group, channel: apart(n, h, offset % stride, w + offset // stride, channel)


def _merged_rows(data: te.Tensor, geometry: Conv2d, dot: Dot, merged: int) -> te.Tensor:
    """Return the padded input, by (n, h, place): columns and channels lie as they do in memory.

    The last group of ``depth`` may read beyond the ``KW * C`` numbers that count, where weights are zero.
    """
    batch, height, width, channels = (int(extent) for extent in data.shape)
    top, left, bottom, _ = geometry.padding
    columns = padded_rows(geometry.out_size(height, width)[1])
    length = (columns - 1) * geometry.strides[1] * channels + merged

    def body(n, h, place):
        row, inside = h - top, place - left * channels
        conditions = [inside >= 0] if left else []
        if length > (left + width) * channels:
            conditions.append(inside < width * channels)
        if top or bottom:
            conditions += [row >= 0, row < height]
        value = convert(data(n, row, inside // channels, inside % channels), dot.data_dtype)
        return or_outside(value, conditions, geometry.pad_value)

    return te.compute((batch, height + top + bottom, length), body, name="rows")


def or_outside(value: tirx.Expr, conditions: Sequence[tirx.Expr], outside: float = 0) -> tirx.Expr:
    """Return the value where the conditions hold, and what stands outside of the data elsewhere."""
    if not conditions:
        return value
    return tirx.if_then_else(tirx.all(*conditions), value, tirx.const(outside, str(value.ty)))


def conv2d(
    data: te.Tensor,
    weight: te.Tensor,
    *arrays: te.Tensor,
    geometry: Conv2d,
    dot: Dot,
    merged: bool = False,
    epilogue: Epilogue | None = None,
) -> te.Tensor:
    """Return the convolution of NHWC data with weights packed by ``packing.pack_conv2d``.

    Parameters
    ----------
    data : (N, H, W, C).
    weight : (G, O/G/lanes, KH, KW, C/G/depth, lanes, depth); with merged columns (1, O/lanes, KH, 1, KW*C/depth, ...);
        of fewer than 8 bits (G, O/G/lanes, words, lanes, depth), by ``packing.pack_planes``.
    arrays : with an epilogue: offset int32 and multiplier float32, both (G * blocks * lanes,), then its operands.
    merged : the columns of the kernel have been merged into its channels (``packing.merges_columns``): a kernel row
        reads the ``KW * C`` numbers from its first column on as they lie in memory, and whole groups of ``depth``.
    epilogue : None returns the accumulator (float operators).

    Returns
    -------
    (N, OH, OW, O) in the epilogue's dtype; (N, OH, OW, G, O/G), which is the same memory, where there are groups.
    """
    batch, height, width, channels = (int(extent) for extent in data.shape)
    groups, blocks, lanes, depth = (int(weight.shape[axis]) for axis in (0, 1, -2, -1))
    group_out, taps = geometry.out_channels // groups, geometry.taps(channels, depth, merged)
    out_h, out_w = geometry.out_size(height, width)
    rows = padded_rows(out_w, dot.rows)
    stride_h, stride_w = geometry.strides
    dilation_h, dilation_w = geometry.dilation
    if merged:
        source = _merged_rows(data, geometry, dot, taps[-1] * depth)
    else:
        source = _rows(data, geometry, dot, groups, taps[-1] * depth)
    factor = factors(weight, taps, dot, out_h * rows)

    def terms(index: Sequence[tirx.Expr], steps: Sequence[tirx.Expr], place: tirx.Expr):
        n, group, h, w, block, lane = index
        tap_h, tap_w, step = steps
        row, channel = h * stride_h + tap_h * dilation_h, step * depth + place
        if merged:
            value = source(n, row, w * (stride_w * channels) + channel)
        else:
            value = source(n, row, w, tap_w * dilation_w, group, channel)
        return value, factor((group, block), steps, lane, place)

    accumulator = accumulate(
        (batch, groups, out_h, rows, blocks, lanes),
        list(zip(("kh", "kw", "ko"), taps, strict=True)),
        terms,
        dot,
        {} if merged else geometry.inside(height, width),
    )

    grouping = () if groups == 1 else (groups,)
    shape = (batch, out_h, out_w, *grouping, group_out)

    def position(index):
        n, h, w, *grouped, channel = index
        group = grouped[0] if grouped else 0
        place = [n, group, h, w, channel // lanes, channel % lanes]
        return place, group * (blocks * lanes) + channel, (n, h, w, group * group_out + channel)

    return finish(accumulator, shape, position, arrays, epilogue)


def matmul(
    data: te.Tensor,
    weight: te.Tensor,
    *arrays: te.Tensor,
    out_channels: int,
    dot: Dot,
    epilogue: Epilogue | None = None,
) -> te.Tensor:
    """Return ``data[..., K] @ weight`` with the weight packed by ``packing.pack_matmul``.

    Parameters
    ----------
    data : (..., M, K), or (K,).
    weight : (N/lanes, K/depth, lanes, depth), or packed by ``packing.pack_planes``.
    arrays, epilogue : as for ``conv2d``, per-channel arrays of (N/lanes * lanes,).

    Returns
    -------
    (..., M, N) in the epilogue's dtype.
    """
    *lead, inner = (int(extent) for extent in data.shape)
    blocks, words, lanes, depth = (int(extent) for extent in weight.shape)
    taps = [("ko", words), ("kp", dot.planes)] if dot.words else [("ko", ceil_div(inner, depth))]
    steps = math.prod(extent for _, extent in taps)
    axis = _rows_axis(lead)
    length = rows_of(data.shape, dot.merges_rows)
    merged = lead != [] and length > lead[axis]
    outer = [] if merged else [extent for place, extent in enumerate(lead) if place != axis]
    rows = dot.padded_rows(length)
    exact = inner == steps * depth and rows == length and not dot.any_extent

    def ordered(front: Sequence[tirx.Expr], row: tirx.Expr) -> list[tirx.Expr]:
        """Return the leading indices of data and result for those of the accumulator."""
        if merged:
            return unravelled(row, lead)
        return [*front[:axis], row, *front[axis:]] if lead else []

    def as_it_is(*index: tirx.Expr) -> tirx.Expr:
        return data(*ordered(index[:-2], index[-2]), index[-1])

    source: Callable[..., tirx.Expr] = as_it_is
    if not exact or data.dtype != dot.data_dtype:

        def body(*index):
            *front, row, channel = index
            conditions = []
            if rows != length or dot.any_extent:
                conditions.append(row < length)
            if inner != steps * depth:
                conditions.append(channel < inner)
            return or_outside(convert(data(*ordered(front, row), channel), dot.data_dtype), conditions)

        source = te.compute((*outer, rows, steps * depth), body, name="rows")

    factor = factors(weight, [extent for _, extent in taps], dot, rows)

    def terms(index: Sequence[tirx.Expr], steps: Sequence[tirx.Expr], place: tirx.Expr):
        *front, block, lane = index
        step = steps[0] * dot.planes + steps[1] if dot.words else steps[0]
        return source(*front, step * depth + place), factor((block,), steps, lane, place)

    marks = {MERGED: out_channels} if merged else {}
    accumulator = accumulate((*outer, rows, blocks, lanes), taps, terms, dot, marks)

    def position(index):
        *front, channel = index
        others = [] if merged else [each for place, each in enumerate(front) if place != axis]
        row = ravelled(front, lead) if merged else front[axis] if lead else 0
        return [*others, row, channel // lanes, channel % lanes], channel, index

    return finish(accumulator, (*lead, out_channels), position, arrays, epilogue)


def ravelled(index: Sequence[tirx.Expr], shape: Sequence[int]) -> tirx.Expr:
    """Return the place of an element in the order of memory."""
    place = tirx.const(0, "int32")
    for each, extent in zip(index, shape, strict=True):
        place = place * extent + each
    return place


def unravelled(place: tirx.Expr, shape: Sequence[int]) -> list[tirx.Expr]:
    """Return the index of the element at a place in the order of memory."""
    index: list[tirx.Expr] = []
    for extent in reversed(shape[1:]):
        place, each = place // extent, place % extent
        index.insert(0, each)
    return [place, *index]


def rows_of(shape: Sequence[int], merges_rows: bool) -> int:
    """Return the rows that share weights in a register tile of ``matmul``, of data of this shape.

    ``merges_rows`` is that of the dot product.
    """
    *lead, _ = (int(extent) for extent in shape)
    if merges_rows or not lead:
        return math.prod(lead)
    return lead[_rows_axis(lead)]


def _rows_axis(lead: Sequence[int]) -> int:
    """Return which of the leading axes gives the rows of register tiles: the last that has several."""
    several = [axis for axis, extent in enumerate(lead) if extent > 1]
    return several[-1] if several else max(len(lead) - 1, 0)
