"""Average pooling of quantized data, with its requantization.

    total[n, oh, ow, c]  = sum over the window of (data - zero_point)        int32; outside counts as 0
    result               = requantize(total, multiplier[oh, ow])

The multiplier is ``data_scale / (out_scale * count)``, an array because at the border the count of elements may
differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from .annotations import KERNEL
from .epilogue import Epilogue


@dataclass(frozen=True)
class Window:
    """A pooling window over NHWC data; ``padding`` is top, left, bottom, right."""

    size: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    ceil_mode: bool
    count_include_pad: bool

    def out_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the result."""
        top, left, bottom, right = self.padding
        sizes = []
        for axis, (extent, before, after) in enumerate(((height, top, bottom), (width, left, right))):
            span = (self.size[axis] - 1) * self.dilation[axis] + 1
            room = extent + before + after - span
            steps = -(-room // self.strides[axis]) if self.ceil_mode else room // self.strides[axis]
            if self.ceil_mode and steps * self.strides[axis] >= extent + before:
                steps -= 1
            sizes.append(steps + 1)
        return sizes[0], sizes[1]

    def counts(self, height: int, width: int) -> np.ndarray:
        """Return by how many elements each sum is divided, int64, shape (OH, OW)."""
        top, left, bottom, right = self.padding
        per_axis = []
        out = self.out_size(height, width)
        for axis, (extent, before, after) in enumerate(((height, top, bottom), (width, left, right))):
            starts = np.arange(out[axis]) * self.strides[axis] - before
            taps = starts[:, None] + np.arange(self.size[axis]) * self.dilation[axis]
            low, high = (-before, extent + after) if self.count_include_pad else (0, extent)
            per_axis.append(((taps >= low) & (taps < high)).sum(axis=1))
        return per_axis[0][:, None] * per_axis[1][None, :]


def average_pool2d(
    data: te.Tensor,
    multiplier: te.Tensor,
    *,
    window: Window,
    zero_point: int,
    epilogue: Epilogue,
) -> te.Tensor:
    """Return the average of quantized NHWC data over a window.

    Parameters
    ----------
    data : (N, H, W, C), uint8 or int8.
    multiplier : float32 (OH, OW).

    Returns
    -------
    (N, OH, OW, C) in the epilogue's dtype.
    """
    batch, height, width, channels = (int(extent) for extent in data.shape)
    out_h, out_w = window.out_size(height, width)
    top, left, bottom, right = window.padding
    taps_h = te.reduce_axis((0, window.size[0]), "kh")
    taps_w = te.reduce_axis((0, window.size[1]), "kw")
    reaches_outside = any(window.padding) or window.ceil_mode

    def total(n, h, w, channel):
        row = h * window.strides[0] - top + taps_h * window.dilation[0]
        column = w * window.strides[1] - left + taps_w * window.dilation[1]
        value = data[n, row, column, channel].astype("int32") - tirx.const(zero_point, "int32")
        if reaches_outside:
            inside = tirx.all(row >= 0, row < height, column >= 0, column < width)
            value = tirx.if_then_else(inside, value, tirx.const(0, "int32"))
        return te.sum(value, axis=[taps_h, taps_w])

    sums = te.compute((batch, out_h, out_w, channels), total, name="total", attrs={KERNEL: "pool"})
    return te.compute(
        (batch, out_h, out_w, channels),
        lambda n, h, w, c: epilogue(sums[n, h, w, c], multiplier[h, w], (n, h, w, c), ()),
        name="result",
    )
