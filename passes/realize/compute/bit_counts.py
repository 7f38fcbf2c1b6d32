"""Convolution of one-bit numbers where bits are counted: the kernels of GPUs. A matrix is an image of height 1.

A bit b stands for 2 b - 1. Over n places that data and weights both have,

    sum (2 a - 1) (2 w - 1)  =  n - 2 P    with P = popcount(a xor w), the places where they are unlike

Bits behind the last channel, and the bytes that fill a line of weights, are 0 on both sides: alike, and not counted.
Padding has bits of 0 too. That is right where the bit 0 stands for it; where it is a 0 that adds nothing, taps in
padding count the ones of their weights all the same, and have no places:

    sum  =  C (KH KW - taps in padding)  +  2 popcount(w of the taps in padding)  -  2 P  =  base - 2 P

``base`` depends on the channel and on which taps are in padding: rows of the result in the middle are all of one class,
those near the border have one each, and columns likewise. What becomes of the sum starts from it, at no cost:

    sum >= threshold                    <=>  P <= floor((base - threshold) / 2)         one number a class and channel
    (sum << fraction) + offset          =    start - (P << fraction + 1)                the same

Bits lie as in ``binary``: eight channels a byte. Those of a result have two steps, ``reached`` and bytes of these,
which a kernel writes together. Weights lie as [G, O/G, depth], a line ``KH KW bytes`` long, filled up to 16 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from ...hub.packing import ceil_div
from .annotations import BITS, KERNEL
from .binary import Threshold, pack_bits
from .contraction import Conv2d, or_outside
from .epilogue import Epilogue

LINE = 16
"""Bytes of which a line of weights is a multiple."""

BYTE = 8

Limit = Callable[[tirx.Expr, tirx.Expr, tirx.Expr], tirx.Expr]
"""``(row, column, channel) -> number``."""


@dataclass(frozen=True)
class Classes:
    """Which taps of an axis are in padding, by places of the result: of ``front`` and ``back`` places each its own.

    Attributes
    ----------
    extent : of the result.
    """

    extent: int
    front: int
    back: int

    @classmethod
    def of(cls, geometry: Conv2d, axis: int, extent: int) -> Classes:
        """Return those of a convolution of data of this extent along an axis, 0 down and 1 across."""
        places = _places(geometry, axis, extent)
        return cls(len(places), int((places[:, 0] < 0).sum()), int((places[:, -1] >= extent).sum()))

    @property
    def _are_apart(self) -> bool:
        return self.front + self.back < self.extent

    @property
    def count(self) -> int:
        return self.front + 1 + self.back if self._are_apart else self.extent

    def at(self, place: tirx.Expr) -> tirx.Expr:
        """Return the class of a place of the result."""
        if not self._are_apart:
            return place
        number = tirx.min(place, self.front) if self.front else tirx.const(0, "int32")
        return number + tirx.max(place - (self.extent - self.back - 1), 0) if self.back else number

    def members(self) -> list[int]:
        """Return a place of each class."""
        if not self._are_apart:
            return list(range(self.extent))
        return [*range(self.front + 1), *range(self.extent - self.back, self.extent)]


def _places(geometry: Conv2d, axis: int, extent: int) -> np.ndarray:
    """Return which rows (columns) of the data each of the result reads: int64 (places, taps)."""
    out = geometry.out_size(extent, extent)[axis]
    start = np.arange(out) * geometry.strides[axis] - geometry.padding[axis]
    return start[:, None] + np.arange(geometry.kernel[axis]) * geometry.dilation[axis]


def line_of(kernel: tuple[int, int], channels: int) -> int:
    """Return the bytes of a line of weights; ``channels`` are those of a group."""
    return ceil_div(kernel[0] * kernel[1] * ceil_div(channels, BYTE), LINE) * LINE


def pack_weights(weight: np.ndarray, groups: int, lanes: int) -> np.ndarray:
    """Return OIHW weights of -1 and 1 as uint8 [G, O/G, bytes], with channels 0 up to a multiple of ``lanes``."""
    channels, inner, *kernel = weight.shape
    lines = pack_bits(weight.transpose(0, 2, 3, 1)).reshape(groups, channels // groups, -1)
    room = line_of(tuple(kernel), inner) - lines.shape[-1]
    return np.pad(lines, ((0, 0), (0, -lines.shape[1] % lanes), (0, room)))


def bases(weight: np.ndarray, geometry: Conv2d, height: int, width: int, pads_zero: bool) -> np.ndarray:
    """Return ``base`` of each class and channel: int64 (classes down, classes across, O).

    Parameters
    ----------
    weight : OIHW, of -1 and 1.
    height, width : of the data.
    """
    ones, inner = (weight > 0).sum(axis=1, dtype=np.int64), weight.shape[1]
    if not pads_zero:
        return np.full((1, 1, len(weight)), weight[0].size, np.int64)
    inside = []
    for axis, extent in enumerate((height, width)):
        places = _places(geometry, axis, extent)[Classes.of(geometry, axis, extent).members()]
        inside.append(((places >= 0) & (places < extent)).astype(np.int64))
    valid = np.einsum("ik,jl->ijkl", *inside)
    return inner * valid.sum(axis=(2, 3))[..., None] + 2 * np.einsum("ijkl,okl->ijo", 1 - valid, ones)


def limits(base: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return which count a bit of 1 may have at most, int32 (down, across, O up to whole bytes).

    ``thresholds`` is int32 (O,).
    """
    most = np.maximum((base - thresholds.astype(np.int64)) // 2, -1).astype(np.int32)
    return np.pad(most, ((0, 0), (0, 0), (0, -most.shape[-1] % BYTE)), constant_values=-1)


def starts(base: np.ndarray, offset: np.ndarray, fraction: int) -> np.ndarray:
    """Return what results start from, int32 (down, across, O); ``offset`` is int32 (O,)."""
    return ((base << fraction) + offset).astype(np.int32)


def packed(reached: te.Tensor) -> te.Tensor:
    """Return numbers 0 and 1, uint8 (..., C), as bits (..., C / 8)."""
    *front, channels = (int(extent) for extent in reached.shape)

    def body(*index: tirx.Expr) -> tirx.Expr:
        byte: tirx.Expr = reached(*index[:-1], index[-1] * BYTE)
        for bit in range(1, BYTE):
            byte = byte | reached(*index[:-1], index[-1] * BYTE + bit) << tirx.const(bit, "uint8")
        return byte

    return te.compute((*front, channels // BYTE), body, name="result")


def binarize(data: te.Tensor, threshold: float) -> te.Tensor:
    """Return float numbers (..., C) as bits (..., ceil(C / 8)): whether each is at least ``threshold``."""
    *front, channels = (int(extent) for extent in data.shape)
    limit = tirx.const(threshold, str(data.dtype))

    def body(*index: tirx.Expr) -> tirx.Expr:
        inside = [index[-1] < channels] if channels % BYTE else []
        return or_outside(tirx.Cast("uint8", data(*index) >= limit), inside)

    shape = (*front, ceil_div(channels, BYTE) * BYTE)
    return packed(te.compute(shape, body, name="reached", attrs={BITS: BYTE}))


def _byte(
    data: te.Tensor,
    pixel: Sequence[tirx.Expr],
    group: tirx.Expr,
    place: tirx.Expr,
    channels: int,
    groups: int,
) -> tirx.Expr:
    """Return a byte of a group of so many channels of a pixel, wherever its bits lie in the pixel's bytes."""
    if channels % BYTE == 0:
        return data(*pixel, group * (channels // BYTE) + place)
    if groups == 1:
        return data(*pixel, place)
    first, last = group * channels + place * BYTE, int(data.shape[-1]) - 1
    low = data(*pixel, first // BYTE).astype("int32")
    high = data(*pixel, tirx.min(first // BYTE + 1, last)).astype("int32")
    byte = (high << 8 | low) >> (first % BYTE).astype("int32")
    rest = tirx.Select(place == channels // BYTE, 2 ** (channels % BYTE) - 1, 255)
    return (byte & rest.astype("int32")).astype("uint8")


def conv2d(
    data: te.Tensor,
    weight: te.Tensor,
    start: te.Tensor,
    *arrays: te.Tensor,
    geometry: Conv2d,
    channels: int,
    fraction: int,
    epilogue: Epilogue | Threshold,
) -> te.Tensor:
    """Return the convolution of NHWC data of one bit with weights of one bit.

    Parameters
    ----------
    data : uint8 (N, H, W, bytes), of ``channels`` bits.
    weight : of ``pack_weights``.
    start : of ``starts``; with ``Threshold`` of ``limits``.
    arrays : none with ``Threshold``; else multiplier float32 (O,), then the epilogue's operands.
    fraction : bits behind the point that the epilogue's integers have.

    Returns
    -------
    With ``Threshold`` uint8 (N, OH, OW, ceil(O / 8)); else (N, OH, OW, O), or (N, OH, OW, G, O/G) of groups.
    """
    batch, height, width, _ = (int(extent) for extent in data.shape)
    groups, lines, depth = (int(extent) for extent in weight.shape)
    inner, group_out = channels // groups, geometry.out_channels // groups
    (kernel_h, kernel_w), count = geometry.kernel, ceil_div(inner, BYTE)
    out_h, out_w = geometry.out_size(height, width)
    span_w = geometry.span(out_w)
    tap = te.reduce_axis((0, depth), "k")

    def unlike(n: tirx.Expr, group: tirx.Expr, h: tirx.Expr, w: tirx.Expr, channel: tirx.Expr) -> tirx.Expr:
        tap_h, tap_w = tap // (kernel_w * count), tap // count % kernel_w
        down = h * geometry.strides[0] + tap_h * geometry.dilation[0]
        across = w * geometry.strides[1] + tap_w * geometry.dilation[1]
        row, column, conditions = geometry.locate(down, across, height, width, span_w)
        if depth > kernel_h * kernel_w * count:
            conditions.append(tap_h < kernel_h)
        bits = or_outside(_byte(data, (n, row, column), group, tap % count, inner, groups), conditions)
        differ = (bits ^ weight(group, channel, tap)).astype("uint32")
        return te.sum(tirx.call_pure_extern("int32", "tvmq_popcount", differ), axis=tap)

    counts = te.compute(
        (batch, groups, out_h, out_w, lines), unlike, name="counts", attrs={KERNEL: "contraction"}
    )
    classes = [Classes.of(geometry, axis, extent) for axis, extent in enumerate((height, width))]
    has_classes = int(start.shape[0]) * int(start.shape[1]) > 1

    def started(h: tirx.Expr, w: tirx.Expr, channel: tirx.Expr) -> tirx.Expr:
        places = (classes[0].at(h), classes[1].at(w)) if has_classes else (0, 0)
        return start(*places, channel)

    if isinstance(epilogue, Threshold):
        return _bits(counts, started, groups, group_out)
    grouping = () if groups == 1 else (groups,)

    def body(n: tirx.Expr, h: tirx.Expr, w: tirx.Expr, *index: tirx.Expr) -> tirx.Expr:
        group, channel = index if grouping else (0, *index)
        whole = group * group_out + channel
        value = started(h, w, whole) - counts(n, group, h, w, channel) * 2 ** (fraction + 1)
        return epilogue(value, arrays[0](whole), (n, h, w, whole), arrays[1:])

    return te.compute((batch, out_h, out_w, *grouping, group_out), body, name="result")


def _splits_bytes(groups: int, group_out: int) -> bool:
    """Tell whether each group of several has bytes of its own."""
    return groups > 1 and group_out % BYTE == 0


def lanes_of(groups: int, group_out: int, is_threshold: bool) -> int:
    """Return of what the channels of a group's weights are a multiple: of whole bytes where they become such."""
    is_whole = groups == 1 or _splits_bytes(groups, group_out)
    return BYTE if is_threshold and is_whole else 1


def _bits(counts: te.Tensor, limit: Limit, groups: int, group_out: int) -> te.Tensor:
    """Return whether counts are so few that the sum reaches its threshold, as bits."""
    batch, _, out_h, out_w, _ = (int(extent) for extent in counts.shape)
    channels = groups * group_out
    split = _splits_bytes(groups, group_out)

    def body(n: tirx.Expr, h: tirx.Expr, w: tirx.Expr, *index: tirx.Expr) -> tirx.Expr:
        whole = index[0] * group_out + index[1] if split else index[0]
        group, channel = index if split else (0, whole)
        if groups > 1 and not split:
            real = tirx.min(whole, channels - 1) if channels % BYTE else whole
            group, channel = real // group_out, real % group_out
        return tirx.Cast("uint8", counts(n, group, h, w, channel) <= limit(h, w, whole))

    inner = (groups, group_out) if split else (ceil_div(channels, BYTE) * BYTE,)
    return packed(te.compute((batch, out_h, out_w, *inner), body, name="reached", attrs={BITS: BYTE}))
