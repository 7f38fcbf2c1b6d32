"""The gradient by the data of a convolution of stride s, as s convolutions of stride 1 along each axis.

    y[v] = sum over i of x[s v + i d - p] w[i]    -->    dx[s u + a] = sum over i of dy[u + (a + p - i d) / s] w[i]

where the i are those that leave no remainder: every t-th, t = s / gcd(s, d), so that the places in dy are d / gcd(s, d)
apart. For each ``a`` that is a convolution of dy with those filters from the last to the first, and nothing is
multiplied by zeros between the elements of dy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tvm import te, tirx

from ...realize.compute.annotations import PHASES
from ...realize.compute.contraction import Conv2d, or_outside


@dataclass(frozen=True)
class Phase:
    """One of the convolutions along an axis.

    Attributes
    ----------
    extent : how many elements of the gradient it has.
    taps : which of the filter's it takes, in this order; none where the gradient is 0.
    dilation : between them.
    padding, cut : zeros in front of and behind dy, and elements that are left out there.
    """

    extent: int
    taps: range
    dilation: int = 1
    padding: tuple[int, int] = (0, 0)
    cut: tuple[int, int] = (0, 0)


def phases(extent: int, kernel: int, stride: int, dilation: int, front: int, out_extent: int) -> list[Phase]:
    """Return the phases of an axis: those of its elements 0, 1, ... up to the stride.

    Parameters
    ----------
    extent, out_extent : of the data and of the result.
    front : padding in front of the data.
    """
    return [
        _phase(start, len(range(start, extent, stride)), kernel, stride, dilation, front, out_extent)
        for start in range(stride)
    ]


def _phase(
    start: int, extent: int, kernel: int, stride: int, dilation: int, front: int, out_extent: int
) -> Phase:
    fitting = [tap for tap in range(kernel) if (start + front - tap * dilation) % stride == 0]
    if not fitting:
        return Phase(extent, range(0))
    common = math.gcd(stride, dilation)
    spread, last = dilation // common, fitting[-1]
    first_place = (start + front - last * dilation) // stride
    # From ``first_place`` on, so many elements of dy with its padding are read.
    read = extent + (len(fitting) - 1) * spread
    before, behind = -first_place, first_place + read - out_extent
    return Phase(
        extent,
        range(last, -1, -(stride // common)),
        spread,
        (max(before, 0), max(behind, 0)),
        (max(-before, 0), max(-behind, 0)),
    )


def turned(weight: te.Tensor, *, rows: Phase, columns: Phase, groups: int) -> te.Tensor:
    """Return the weights (G * O/G, I/G, KH, KW) of two phases' taps, as (G * I/G, O/G, taps, taps)."""
    channels, inner = (int(extent) for extent in weight.shape[:2])
    outer = channels // groups

    def body(channel, out, tap_h, tap_w):
        group = channel // inner
        places = (taps.start + taps.step * tap for taps, tap in ((rows.taps, tap_h), (columns.taps, tap_w)))
        return weight(group * outer + out, channel % inner, *places)

    shape = (groups * inner, outer, len(rows.taps), len(columns.taps))
    return te.compute(shape, body, name="turned")


def interleave(
    *parts: te.Tensor, shape: Sequence[int], strides: tuple[int, int], present: Sequence[bool]
) -> te.Tensor:
    """Return an image (N, H, W, C) whose rows and columns come from the parts in turn, and are 0 where there is none.

    Parameters
    ----------
    parts : (N, rows, columns, C), by rows first; only those ``present``.
    """
    left = iter(parts)
    found = [next(left) if there else None for there in present]
    down, across = strides

    def body(n, h, w, c):
        value = tirx.const(0, "float32")
        for place, part in reversed(list(enumerate(found))):
            if part is not None:
                is_own = tirx.all(h % down == place // across, w % across == place % across)
                value = tirx.if_then_else(is_own, part(n, h // down, w // across, c), value)
        return value

    return te.compute(tuple(shape), body, name="interleaved", attrs={PHASES: list(strides)})


def depthwise(
    gradient: te.Tensor, weight: te.Tensor, *, geometry: Conv2d, size: tuple[int, int]
) -> te.Tensor:
    """Return the gradient (N, H, W, C) by the data of a depthwise convolution, where its phases are too little work.

    Parameters
    ----------
    gradient : (N, OH, OW, C).
    weight : (KH, KW, C).
    size : H and W.
    """
    batch, out_h, out_w, channels = (int(extent) for extent in gradient.shape)

    def seen(place: tirx.Expr, axis: int, tap: int, extent: int) -> tuple[tirx.Expr, list[tirx.Expr]]:
        """Return which place of the result reads this place by a tap, and when there is one."""
        stride = geometry.strides[axis]
        shifted = place + (geometry.padding[axis] - tap * geometry.dilation[axis])
        whole = tirx.floordiv(shifted, stride)
        return whole, [tirx.floormod(shifted, stride) == 0, whole >= 0, whole < extent]

    def body(n, h, w, c):
        total = tirx.const(0, "float32")
        for i in range(geometry.kernel[0]):
            row, in_rows = seen(h, 0, i, out_h)
            for j in range(geometry.kernel[1]):
                column, in_columns = seen(w, 1, j, out_w)
                product = gradient(n, row, column, c) * weight(i, j, c)
                total = total + or_outside(product, [*in_rows, *in_columns])
        return total

    return te.compute((batch, *size, channels), body, name="by_data", attrs={PHASES: list(geometry.strides)})
