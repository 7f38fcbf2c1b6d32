"""Weight layouts of the kernels.

    OIHW --> [G, O/lanes, KH, KW, K/depth, lanes, depth]

One vector register's worth of weights, ``lanes`` output channels times ``depth`` input channels, lies together, so a
kernel streams through memory in order. Channels are padded with zeros to whole groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

STORED_BITS = (2, 4, 8)
"""Widths in which weights lie in memory."""

TILE_ROWS = (8, 7, 6, 5, 4)
"""Rows of register tiles."""


def ceil_div(value: int, divisor: int) -> int:
    """Return ``value / divisor``, rounded up."""
    return -(-value // divisor)


def pack_conv2d(weight: np.ndarray, groups: int, lanes: int, depth: int) -> np.ndarray:
    """Return an OIHW weight as [G, O/G/lanes, KH, KW, I/depth, lanes, depth], padded with zeros."""
    out_channels, in_channels, kernel_h, kernel_w = weight.shape
    group_out = out_channels // groups
    blocks, steps = ceil_div(group_out, lanes), ceil_div(in_channels, depth)
    grouped = weight.reshape(groups, group_out, in_channels, kernel_h, kernel_w)
    padded = np.pad(
        grouped,
        ((0, 0), (0, blocks * lanes - group_out), (0, steps * depth - in_channels), (0, 0), (0, 0)),
    )
    split = padded.reshape(groups, blocks, lanes, steps, depth, kernel_h, kernel_w)
    return np.ascontiguousarray(split.transpose(0, 1, 5, 6, 3, 2, 4))


def merges_columns(shape: Sequence[int], depth: int, dilation: int) -> bool:
    """Tell whether a kernel (I, KH, KW) is better taken with its columns and channels as one run of numbers.

    That is so for images of few channels: 7 columns of 3 channels are 6 groups of 4, and by themselves 7 with padding.
    """
    channels, _, columns = shape
    return columns > 1 and channels % depth != 0 and dilation == 1


def merge_columns(weight: np.ndarray) -> np.ndarray:
    """Return an [O, I, KH, KW] weight as [O, KW * I, KH, 1]."""
    out_channels, in_channels, kernel_h, kernel_w = weight.shape
    merged = weight.transpose(0, 3, 1, 2).reshape(out_channels, kernel_w * in_channels, kernel_h)
    return merged[..., None]


def pack_matmul(weight: np.ndarray, lanes: int, depth: int) -> np.ndarray:
    """Return a [K, N] weight as [N/lanes, K/depth, lanes, depth], padded with zeros."""
    return pack_conv2d(weight.T[:, :, None, None], 1, lanes, depth)[0, :, 0, 0]


def stored_bits(bits: int) -> int:
    """Return the width in which weights of 2 to 8 bits are stored."""
    return next(width for width in STORED_BITS if width >= bits)


def bias_of(bits: int) -> int:
    """Return what is added to weights of so many bits so that none is below 0."""
    return 2 ** (bits - 1)


def pack_planes(weight: np.ndarray, bits: int) -> np.ndarray:
    """Return packed weights (..., steps, lanes, depth), int8 of ``bits`` bits, as uint8 (..., words, lanes, depth).

    A word holds as many neighbouring steps as fit, the first in the lowest bits, each a plane: one shift and one mask
    take it out of a whole register. The last word is padded with weights of 0.
    """
    *front, steps, lanes, depth = weight.shape
    planes = 8 // bits
    words = ceil_div(steps, planes)
    padding = [(0, 0)] * len(front) + [(0, words * planes - steps), (0, 0), (0, 0)]
    codes = np.pad(weight.astype(np.int16), padding) + bias_of(bits)
    shifts = (bits * np.arange(planes)).reshape(planes, 1, 1)
    split = codes.reshape(*front, words, planes, lanes, depth) << shifts
    return np.bitwise_or.reduce(split, axis=-3).astype(np.uint8)


WORD = 16
"""Bytes of weights that a thread of a GPU reads at a time."""

TOGETHER = 4
"""Neighbouring weights of a word that it multiplies by as many neighbours of the data."""


def word_lanes(inner: int, bits: int) -> int:
    """Return how many words of so many bits share a stretch of an inner product: the most that leave no padding.

    Lane l has the l-th four of every ``TOGETHER * lanes`` numbers of the stretch, so that lanes read neighbours.
    """
    chunks = WORD // TOGETHER * (8 // bits)
    return next((lanes for lanes in (8, 4, 2) if inner % (chunks * TOGETHER * lanes) == 0), 1)


def pack_words(weight: np.ndarray, bits: int) -> np.ndarray:
    """Return integers [O, K] of ``bits`` bits, one of ``STORED_BITS``, as uint8 [O, blocks, lanes, 16].

    Byte 4 w + j of lane l of a block has, in plane p, the number at place ((w * planes + p) * lanes + l) * 4 + j of the
    block. The last block is padded with 0.
    """
    columns, inner = weight.shape
    planes, lanes = 8 // bits, word_lanes(inner, bits)
    length = WORD * planes * lanes
    codes = np.pad(weight.astype(np.int16), ((0, 0), (0, -inner % length))) + bias_of(bits)
    shifts = (bits * np.arange(planes)).reshape(planes, 1, 1)
    split = codes.reshape(columns, -1, WORD // TOGETHER, planes, lanes, TOGETHER) << shifts
    words = np.bitwise_or.reduce(split, axis=3).astype(np.uint8)
    return np.ascontiguousarray(words.transpose(0, 1, 3, 2, 4)).reshape(columns, -1, lanes, WORD)


def pack_channels(values: np.ndarray, groups: int, lanes: int, fill: int = 0) -> np.ndarray:
    """Return per-channel values as [G * blocks * lanes], each group padded with ``fill`` to whole blocks."""
    group_out = len(values) // groups
    padded = ceil_div(group_out, lanes) * lanes
    widths = ((0, 0), (0, padded - group_out))
    return np.pad(values.reshape(groups, group_out), widths, constant_values=fill).reshape(-1)


def padded_rows(rows: int, together: int = 1, most: int = TILE_ROWS[0]) -> int:
    """Return the least number of output rows that a register tile of 4 to ``most`` rows divides.

    A kernel computes whole tiles. Up to 8 rows are a tile by themselves. An instruction takes so many ``together``.
    """
    if rows <= TILE_ROWS[0]:
        return ceil_div(rows, together) * together
    return min(ceil_div(rows, tile) * tile for tile in TILE_ROWS if tile <= most and tile % together == 0)
