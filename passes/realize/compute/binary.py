"""Convolution of one-bit numbers, and how their bits lie in memory. A matrix is an image of height 1.

    bits  --(padding)-->  codes  --(look up, add)-->  accumulator  --(threshold)-->  bits

A tensor of one-bit numbers has eight neighbouring channels in a byte, the first in its lowest bit; what is behind the
last channel is 0. ``targets.bit_products`` has the codes, and ``passes.hub.arithmetic`` the sums in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from tvm import te, tirx

from ....targets.bit_products import DEPTH, PADDING, TAIL, packed_byte
from ...hub.packing import ceil_div, pack_conv2d, padded_rows
from .annotations import BITS, KERNEL, THRESHOLD
from .contraction import Conv2d, finish
from .dots import Dot
from .epilogue import Epilogue
from .pool import Window
from .sums import accumulate
from .weights import factors

_STEP = 16
"""Between the codes of two numbers."""


@dataclass(frozen=True)
class Threshold:
    """accumulator --> one bit: whether it is at least the channel's threshold."""

    operands: int = 0
    dtype: str = "uint8"


def tail_of(channels: int) -> int:
    """Return how many bits the last code of a pixel has; 0 where it has all four."""
    return channels % DEPTH


def pack_bits(signs: np.ndarray) -> np.ndarray:
    """Return numbers (..., C) of which those above 0 are 1, as bytes (..., ceil(C / 8))."""
    return np.packbits(signs > 0, axis=-1, bitorder="little")


def steps_of(channels: int) -> int:
    """Return how many codes a pixel of so many channels has: two for each byte."""
    return 2 * ceil_div(channels, 8)


def pack_weights(weight: np.ndarray, groups: int, lanes: int) -> np.ndarray:
    """Return OIHW weights of -1 and 1 as [G, O/G/lanes, KH, KW, steps, lanes, 1], int8 from -8 to 7.

    That is four bits, less the 8 that ``packing.pack_planes`` adds. First come those of the lower halves of all bytes,
    then those of the higher ones, so that vectors of bytes become vectors of codes by one shift and one mask.
    """
    channels = weight.shape[1]
    bits = np.pad((weight > 0).astype(np.int8), ((0, 0), (0, -channels % 8), (0, 0), (0, 0)))
    arranged = pack_conv2d(bits, groups, lanes, DEPTH)
    numbers = (arranged << np.arange(DEPTH)).sum(axis=-1, keepdims=True)
    halves = np.concatenate([numbers[:, :, :, :, half::2] for half in (0, 1)], axis=4)
    return (halves - 8).astype(np.int8)


def binarize(data: te.Tensor, threshold: float) -> te.Tensor:
    """Return float numbers (..., C) as bits (..., ceil(C / 8)): whether each is at least ``threshold``."""
    *front, channels = (int(extent) for extent in data.shape)
    limit = tirx.const(threshold, str(data.dtype))

    def body(*index: tirx.Expr) -> tirx.Expr:
        *place, byte = index

        def reached(bit: int) -> tirx.Expr:
            channel = byte * 8 + bit
            inside = data(*place, channel) >= limit
            if channels % 8 == 0:
                return inside
            return tirx.if_then_else(channel < channels, inside, tirx.const(False, "bool"))

        return packed_byte([reached(bit) for bit in range(8)])

    marks = {KERNEL: "bits", THRESHOLD: tirx.const(threshold, "float32")}
    return te.compute((*front, ceil_div(channels, 8)), body, name="bits", attrs=marks)


def pool(data: te.Tensor, flips: te.Tensor, window: Window) -> te.Tensor:
    """Return for each window of bits (N, H, W, bytes) whether any is 1, the other way round where ``flips`` has a 1.

    ``flips`` is uint8 (bytes,).
    """
    batch, height, width, count = (int(extent) for extent in data.shape)
    out_h, out_w = window.out_size(height, width)
    top, left, _, _ = window.padding

    def body(n: tirx.Expr, h: tirx.Expr, w: tirx.Expr, byte: tirx.Expr) -> tirx.Expr:
        found = tirx.const(0, "uint8")
        for down, across in product(range(window.size[0]), range(window.size[1])):
            row = h * window.strides[0] + down * window.dilation[0] - top
            column = w * window.strides[1] + across * window.dilation[1] - left
            inside = tirx.all(row >= 0, row < height, column >= 0, column < width)
            found = found | tirx.if_then_else(inside, data(n, row, column, byte), tirx.const(0, "uint8"))
        return found ^ flips(byte)

    return te.compute((batch, out_h, out_w, count), body, name="pooled")


def without_gaps(data: te.Tensor, channels: int) -> te.Tensor:
    """Return bits (N, H, W, G, ...), of so many channels a group, as (N, H, W, ceil(G * channels / 8)).

    Behind the channels of a group there may be bits that fill its last vector.
    """
    batch, height, width, groups, *rest = (int(extent) for extent in data.shape)
    count = rest[-1]

    def body(n: tirx.Expr, h: tirx.Expr, w: tirx.Expr, byte: tirx.Expr) -> tirx.Expr:
        def is_set(bit: int) -> tirx.Expr:
            whole = tirx.min(byte * 8 + bit, groups * channels - 1)
            group, channel = whole // channels, whole % channels
            place = channel // 8
            found = data(n, h, w, group, *((place // count, place % count) if len(rest) > 1 else (place,)))
            value = (found >> (channel % 8).astype("uint8")) & tirx.const(1, "uint8")
            return tirx.all(value > 0, byte * 8 + bit < groups * channels)

        return packed_byte([is_set(bit) for bit in range(8)])

    return te.compute((batch, height, width, ceil_div(groups * channels, 8)), body, name="bits")


def _code(byte: tirx.Expr, half: tirx.Expr, place: tirx.Expr, channels: int) -> tirx.Expr:
    """Return the code, uint16, of half a byte of a pixel of so many channels, the ``place``-th of its bytes."""
    shifted = byte >> (half * 4).astype("uint8")
    number = (shifted & tirx.const(15, "uint8")).astype("uint16")
    code = number * tirx.const(_STEP, "uint16")
    is_last = place == channels // 8
    whole, tail = channels % 8 // DEPTH, tail_of(channels)
    if channels % 8 == 0:
        return code
    # In the last byte: halves before the tail are whole, those behind it stand for nothing.
    last = tirx.Select(half < whole, code, tirx.const(PADDING, "uint16"))
    if tail:
        mask = tirx.const(2**tail - 1, "uint16")
        ending = tirx.const(TAIL, "uint16") + (number & mask) * tirx.const(_STEP, "uint16")
        last = tirx.Select(half == whole, ending, last)
    return tirx.Select(is_last, last, code)


def _byte(
    data: te.Tensor,
    pixel: Sequence[tirx.Expr],
    group: tirx.Expr,
    place: tirx.Expr,
    channels: int,
    groups: int,
) -> tirx.Expr:
    """Return a byte of a group of so many channels of a pixel, wherever its bits lie in the pixel's bytes."""
    if channels % 8 == 0:
        return data(*pixel, group * (channels // 8) + place)
    if groups == 1:
        return data(*pixel, place)
    first, last = group * channels + place * 8, int(data.shape[-1]) - 1
    shift = (first % 8).astype("uint8")
    low = data(*pixel, first // 8) >> shift
    high = data(*pixel, tirx.min(first // 8 + 1, last)).astype("uint16") << (8 - first % 8).astype("uint16")
    return low | high.astype("uint8")


def conv2d(
    data: te.Tensor,
    weight: te.Tensor,
    *arrays: te.Tensor,
    geometry: Conv2d,
    channels: int,
    pads_zero: bool,
    dot: Dot,
    epilogue: Epilogue | Threshold,
) -> te.Tensor:
    """Return the convolution of NHWC data of one bit with weights of one bit.

    Parameters
    ----------
    data : uint8 (N, H, W, bytes), at least ``channels`` bits.
    weight : of ``pack_weights``, packed by ``packing.pack_planes``: uint8 (G, O/G/lanes, words, lanes, 1).
    arrays : with ``Threshold`` int32 (G * blocks * lanes,); else as for ``contraction.conv2d``.
    channels : of the data.
    pads_zero : padding is 0, and not the number that the bit 0 stands for.

    Returns
    -------
    With ``Threshold`` uint8 (N, OH, OW, G, blocks, lanes / 8); else as ``contraction.conv2d``.
    """
    batch, height, width, _ = (int(extent) for extent in data.shape)
    groups, blocks, lanes = (int(weight.shape[axis]) for axis in (0, 1, -2))
    inner, group_out = channels // groups, geometry.out_channels // groups
    taps = (*geometry.kernel, steps_of(inner))
    out_h, out_w = geometry.out_size(height, width)
    rows, halves = padded_rows(out_w), taps[-1] // 2
    top, _, bottom, _ = geometry.padding
    span_w = geometry.span(rows)

    def body(*index: tirx.Expr) -> tirx.Expr:
        n, h, w, group, half, place = index
        row, column, conditions = geometry.locate(h, w, height, width, span_w)
        code = _code(_byte(data, (n, row, column), group, place, inner, groups), half, place, inner)
        if not conditions:
            return code
        zeros = _code(tirx.const(0, "uint8"), half, place, inner)
        outside = tirx.const(PADDING, "uint16") if pads_zero else zeros
        return tirx.if_then_else(tirx.all(*conditions), code, outside)

    shape = (batch, height + top + bottom, max(span_w, 1), groups, 2, halves)
    codes = te.compute(shape, body, name="rows")
    factor = factors(weight, taps, dot, out_h * rows)

    def terms(index: Sequence[tirx.Expr], steps: Sequence[tirx.Expr], place: tirx.Expr):
        n, group, h, w, block, lane = index
        tap_h, tap_w, step = steps
        row = h * geometry.strides[0] + tap_h * geometry.dilation[0]
        column = w * geometry.strides[1] + tap_w * geometry.dilation[1]
        value = codes(n, row, column, group, (step + place) // halves, (step + place) % halves)
        return value, factor((group, block), steps, lane, place)

    accumulator = accumulate(
        (batch, groups, out_h, rows, blocks, lanes),
        list(zip(("kh", "kw", "ko"), taps, strict=True)),
        terms,
        dot,
        geometry.inside(height, width) if pads_zero else {},
    )
    if isinstance(epilogue, Threshold):
        (thresholds,) = arrays

        def bits(*index: tirx.Expr) -> tirx.Expr:
            n, h, w, group, block, byte = index
            first = group * (blocks * lanes) + block * lanes
            return packed_byte(
                [
                    accumulator(n, group, h, w, block, byte * 8 + bit) >= thresholds(first + byte * 8 + bit)
                    for bit in range(8)
                ]
            )

        shape = (batch, out_h, out_w, groups, blocks, lanes // 8)
        return te.compute(shape, bits, name="result", attrs={BITS: lanes})
    grouping = () if groups == 1 else (groups,)

    def position(index: Sequence[tirx.Expr]):
        n, h, w, *grouped, channel = index
        group = grouped[0] if grouped else 0
        place = [n, group, h, w, channel // lanes, channel % lanes]
        return place, group * (blocks * lanes) + channel, (n, h, w, group * group_out + channel)

    return finish(accumulator, (batch, out_h, out_w, *grouping, group_out), position, arrays, epilogue)
