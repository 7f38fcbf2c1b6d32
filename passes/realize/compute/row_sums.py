"""Sums of the data that each row, or pixel, of a product reads: what weights with a zero point need beside it.

sums[n, h, w] = factor * sum over the kernel and the channels of data[n, h + kh, w + kw, c]
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import te, tirx

from .annotations import ROWS
from .contraction import Conv2d, or_outside

MOST_NARROW = 128
"""Numbers of 8 bits whose sum does not leave int16, whatever they are."""


FEW = 8
"""Numbers of a row that are added up where they are read, without blocks of their own."""


def row_sums(data: te.Tensor, *, factor: int, lanes: int | None = None) -> te.Tensor:
    """Return ``factor`` times the sum of each row of 8-bit integers ``[..., K]``, int32 ``[...]``.

    Parameters
    ----------
    lanes : numbers of int16 in a vector: each adds up its own part of the row, and their sums are added then; None
        leaves that to the schedule.
    """
    *lead, inner = (int(extent) for extent in data.shape)
    if inner <= FEW:
        return te.compute(
            tuple(lead),
            lambda *row: (
                sum(data(*row, k).astype("int32") for k in range(inner)) * tirx.const(factor, "int32")
            ),
            name="scaled",
        )
    groups = 0 if lanes is None else min(inner // lanes, MOST_NARROW)
    attrs = {ROWS: len(lead)}

    def total(extent: int, value: Callable[..., tirx.Expr], name: str) -> te.Tensor:
        step = te.reduce_axis((0, extent), "k")
        return te.compute(
            tuple(lead),
            lambda *row: te.sum(value(*row, step).astype("int32"), axis=[step]),
            name=name,
            attrs=attrs,
        )

    parts = []
    rest = inner - groups * (lanes or 0)
    if groups > 1:
        group = te.reduce_axis((0, groups), "group")
        by_lane = te.compute(
            (*lead, lanes),
            lambda *at: te.sum(data(*at[:-1], group * lanes + at[-1]).astype("int16"), axis=[group]),
            name="by_lane",
            attrs=attrs,
        )
        parts.append(total(lanes, by_lane, "of_lanes"))
    else:
        rest = inner
    if rest:
        parts.append(total(rest, lambda *at: data(*at[:-1], at[-1] + inner - rest), "of_rest"))
    return te.compute(
        tuple(lead),
        lambda *row: sum(part(*row) for part in parts) * tirx.const(factor, "int32"),
        name="scaled",
        attrs=attrs,
    )


def window_sums(pixels: te.Tensor, *, geometry: Conv2d, outside: int) -> te.Tensor:
    """Return the sums of the windows of a convolution over sums of pixels, int32 (N, H, W) to (N, OH, OW).

    Parameters
    ----------
    outside : what a pixel counts that is none of the image.
    """
    batch, height, width = (int(extent) for extent in pixels.shape)
    (kernel_h, kernel_w), (down, across) = geometry.kernel, geometry.strides
    taps_h, taps_w = (
        te.reduce_axis((0, extent), name) for extent, name in ((kernel_h, "kh"), (kernel_w, "kw"))
    )
    top, left, bottom, right = geometry.padding

    def padded(n: tirx.Expr, h: tirx.Expr, w: tirx.Expr) -> tirx.Expr:
        row, column, conditions = geometry.locate(h, w, height, width, left + width + right)
        return or_outside(pixels(n, row, column), conditions, outside)

    source = te.compute((batch, height + top + bottom, width + left + right), padded, name="padded")

    def total(n: tirx.Expr, h: tirx.Expr, w: tirx.Expr) -> tirx.Expr:
        row, column = (
            place * stride + tap * spread
            for place, stride, tap, spread in zip(
                (h, w), (down, across), (taps_h, taps_w), geometry.dilation, strict=True
            )
        )
        return te.sum(source(n, row, column), axis=[taps_h, taps_w])

    return te.compute((batch, *geometry.out_size(height, width)), total, name="sums")
