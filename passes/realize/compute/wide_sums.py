"""Products of 16-bit data with 8-bit weights, whose sums are int64: exact, and as simple as can be.

    sum = sum over the kernel and the channels of data * weight + bias                                 int64
    result = (sum * multiplier + 2**(bits - 1 - shift)) >> (bits - shift), within limits

with a multiplier of ``bits`` behind the point and a shift for each channel. Data and results have no zero points.
TFLite's reference kernels compute that (``MultiplyByQuantizedMultiplier`` of 64-bit numbers).
"""

from __future__ import annotations

from tvm import te, tirx

from ...hub.arithmetic import Output
from .contraction import Conv2d


def _int64(value: int) -> tirx.Expr:
    return tirx.const(value, "int64")


def requantized(
    total: tirx.Expr, multiplier: tirx.Expr, shift: tirx.Expr, bits: int, out: Output
) -> tirx.Expr:
    """Return an int64 sum as an integer of ``out``; multiplier and shift are int64 too."""
    less_one = _int64(bits - 1) - shift
    steps = (((total * multiplier) >> less_one) + _int64(1)) >> _int64(1)
    limited = tirx.max(tirx.min(steps, _int64(out.upper)), _int64(out.lower))
    return limited.astype(out.dtype)


def conv2d(
    data: te.Tensor, weight: te.Tensor, bias: te.Tensor, multiplier: te.Tensor, shift: te.Tensor, *,
    geometry: Conv2d, bits: int, out: Output,
) -> te.Tensor:  # fmt: skip
    """Return the convolution of int16 images (N, H, W, C) with int8 filters (O, C // groups, KH, KW).

    Parameters
    ----------
    bias, multiplier, shift : int64 (O,).
    """
    batch, height, width, _ = (int(extent) for extent in data.shape)
    filters, depth, kernel_h, kernel_w = (int(extent) for extent in weight.shape)
    top, left, _, _ = geometry.padding
    (down, across), (spread_down, spread_across) = geometry.strides, geometry.dilation
    each = filters // geometry.groups
    taps = [
        te.reduce_axis((0, extent), name)
        for extent, name in ((kernel_h, "kh"), (kernel_w, "kw"), (depth, "c"))
    ]

    def product(n: tirx.Expr, h: tirx.Expr, w: tirx.Expr, o: tirx.Expr) -> tirx.Expr:
        tap_h, tap_w, channel = taps
        row, column = h * down + tap_h * spread_down - top, w * across + tap_w * spread_across - left
        inside = tirx.all(row >= 0, row < height, column >= 0, column < width)
        value = data[n, row, column, o // each * depth + channel].astype("int64")
        factor = weight[o, channel, tap_h, tap_w].astype("int64")
        return te.sum(tirx.if_then_else(inside, value * factor, _int64(0)), axis=taps)

    shape = (batch, *geometry.out_size(height, width), filters)
    total = te.compute(shape, product, name="total")
    return te.compute(
        shape,
        lambda n, h, w, o: requantized(total[n, h, w, o] + bias[o], multiplier[o], shift[o], bits, out),
        name="result",
    )
