"""Weight layouts of the kernels (``hub.packing``) for weights that are computed while the model runs.

OIHW --> [G, O/G/lanes, KH, KW, I/depth, lanes, depth]
"""

from __future__ import annotations

from tvm import te, tirx

from ...hub.packing import ceil_div
from .annotations import PACKED
from .contraction import or_outside


def pack_conv2d(weight: te.Tensor, *, groups: int, lanes: int, depth: int) -> te.Tensor:
    """Return an OIHW weight as ``packing.pack_conv2d`` does."""
    out_channels, in_channels, *kernel = (int(extent) for extent in weight.shape)
    group_out = out_channels // groups
    blocks, steps = ceil_div(group_out, lanes), ceil_div(in_channels, depth)

    def body(group, block, tap_h, tap_w, step, lane, place):
        out, channel = block * lanes + lane, step * depth + place
        conditions = [out < group_out] if group_out % lanes else []
        conditions += [channel < in_channels] if in_channels % depth else []
        return or_outside(weight(group * group_out + out, channel, tap_h, tap_w), conditions)

    return te.compute((groups, blocks, *kernel, steps, lanes, depth), body, name="packed", attrs={PACKED: 2})


def pack_pointwise(weight: te.Tensor, *, lanes: int, depth: int) -> te.Tensor:
    """Return an OIHW weight of one tap as ``packing.pack_matmul`` does its transpose ``[I, O]``."""
    columns, inner, *_ = (int(extent) for extent in weight.shape)
    zero = tirx.const(0, "int32")

    def body(block, step, lane, place):
        row, column = step * depth + place, block * lanes + lane
        conditions = [column < columns] if columns % lanes else []
        conditions += [row < inner] if inner % depth else []
        return or_outside(weight(column, row, zero, zero), conditions)

    return te.compute(
        (ceil_div(columns, lanes), ceil_div(inner, depth), lanes, depth),
        body,
        name="packed",
        attrs={PACKED: 1},
    )


def pack_matmul(weight: te.Tensor, *, lanes: int, depth: int) -> te.Tensor:
    """Return a ``[K, N]`` weight as ``packing.pack_matmul`` does."""
    inner, columns = (int(extent) for extent in weight.shape)

    def body(block, step, lane, place):
        row, column = step * depth + place, block * lanes + lane
        conditions = [column < columns] if columns % lanes else []
        conditions += [row < inner] if inner % depth else []
        return or_outside(weight(row, column), conditions)

    return te.compute(
        (ceil_div(columns, lanes), ceil_div(inner, depth), lanes, depth),
        body,
        name="packed",
        attrs={PACKED: 1},
    )


def pack_depthwise(weight: te.Tensor, *, lanes: int) -> te.Tensor:
    """Return a ``[C, 1, KH, KW]`` weight as ``depthwise.pack_depthwise`` does."""
    channels, _, *kernel = (int(extent) for extent in weight.shape)

    def body(tap_h, tap_w, block, lane):
        channel = block * lanes + lane
        conditions = [channel < channels] if channels % lanes else []
        return or_outside(weight(channel, tirx.const(0, "int32"), tap_h, tap_w), conditions)

    return te.compute((*kernel, ceil_div(channels, lanes), lanes), body, name="packed")


def by_taps(weight: te.Tensor) -> te.Tensor:
    """Return a ``[C, 1, KH, KW]`` weight as ``[KH, KW, C]``."""
    channels, _, *kernel = weight.shape
    zero = tirx.const(0, "int32")
    return te.compute((*kernel, channels), lambda i, j, channel: weight(channel, zero, i, j), name="by_taps")
