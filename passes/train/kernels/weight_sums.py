"""Gradients of weights: sums over all places of a batch.

    conv2d       dw[o, c, i, j] = sum over n, h, w of dy[n, h, w, o] x[n, h s + i d - p, w s + j d - p, c]
    depthwise    dw[c, 0, i, j] = sum over n, h, w of dy[n, h, w, c] x[n, h s + i d - p, w s + j d - p, c]
    product      dw[k, n]       = sum over r of x[r, k] dy[r, n]

The definitions say what; ``schedules.cpu.weight_sums`` has the code, and finds them by their annotations.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from tvm import te, tirx

from ...realize.compute.annotations import KERNEL, WINDOWS
from ...realize.compute.contraction import Conv2d, or_outside

CONV2D, DEPTHWISE, PRODUCT = "conv2d weight sums", "depthwise weight sums", "product weight sums"
"""Values of the annotation ``KERNEL``."""

PIXELS = Conv2d((1, 1), (0, 0, 0, 0), (1, 1), 1, (1, 1), 0)
"""A product is a convolution of single pixels."""


def conv2d(data: te.Tensor, gradient: te.Tensor, *, geometry: Conv2d) -> te.Tensor:
    """Return the gradient (O, I/G, KH, KW) of a convolution's weights.

    Parameters
    ----------
    data, gradient : (N, H, W, I) and (N, OH, OW, O).
    """
    groups, channels = geometry.groups, geometry.out_channels
    inner = int(data.shape[-1]) // groups

    def body(out, channel, tap_h, tap_w, place):
        source = out // (channels // groups) * inner + channel
        return gradient(*place, out) * _seen(data, geometry, place, tap_h, tap_w, source)

    return _sums((channels, inner, *geometry.kernel), gradient, body, CONV2D, geometry)


def depthwise(data: te.Tensor, gradient: te.Tensor, *, geometry: Conv2d) -> te.Tensor:
    """Return the gradient (C, 1, KH, KW) of a depthwise convolution's weights; parameters as for ``conv2d``."""

    def body(channel, _, tap_h, tap_w, place):
        return gradient(*place, channel) * _seen(data, geometry, place, tap_h, tap_w, channel)

    return _sums((geometry.out_channels, 1, *geometry.kernel), gradient, body, DEPTHWISE, geometry)


def product(data: te.Tensor, gradient: te.Tensor) -> te.Tensor:
    """Return the gradient (K, N) of a product's weights from (R, K) and (R, N)."""
    row = te.reduce_axis((0, gradient.shape[0]), "r")
    return te.compute(
        (data.shape[1], gradient.shape[1]),
        lambda inner, column: te.sum(data(row, inner) * gradient(row, column), axis=[row]),
        name="sums",
        attrs={KERNEL: PRODUCT, WINDOWS: _text(PIXELS)},
    )


def _sums(shape, gradient: te.Tensor, body, kind: str, geometry: Conv2d) -> te.Tensor:
    place = [
        te.reduce_axis((0, extent), name) for extent, name in zip(gradient.shape[:3], "nhw", strict=True)
    ]
    return te.compute(
        shape,
        lambda *index: te.sum(body(*index, place), axis=place),
        name="sums",
        attrs={KERNEL: kind, WINDOWS: _text(geometry)},
    )


def _text(geometry: Conv2d) -> str:
    return json.dumps(asdict(geometry))


def _seen(
    data: te.Tensor, geometry: Conv2d, place, tap_h: tirx.Expr, tap_w: tirx.Expr, channel: tirx.Expr
) -> tirx.Expr:
    """Return what a tap sees at a place of the result."""
    n, h, w = place
    _, height, width, _ = (int(extent) for extent in data.shape)
    (down, across), (spread_h, spread_w) = geometry.strides, geometry.dilation
    row, column, conditions = geometry.locate(
        *(h * down + tap_h * spread_h, w * across + tap_w * spread_w, height, width),
        width + geometry.padding[3],
    )
    return or_outside(data(n, row, column, channel), conditions)
