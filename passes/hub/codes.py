"""What compressed weights are: small integers, and a table that gives them their values.

    grouped     w[o, i, ...] = (step * code[o, i, ...] + low) * table[o, i // group]
    codebook    w[o, i, ...] = table[code[o, i, ...]] * scales[o]

Grouped integers are symmetric: ``code`` from 0 to 2^bits - 2 stands for -(2^(bits-1) - 1) to 2^(bits-1) - 1, and of 1
bit 0 and 1 stand for -1 and 1. Each value is one float32 product of two float32 numbers, so it is the same on every
machine; ``values`` is the reference that the kernels equal.

In a package the codes lie one behind the other without gaps, the first in the lowest bits of the first byte.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MAX_BITS = 16

MAX_CODEBOOK_BITS = 8
"""Of a codebook's index: a larger table is larger than most layers."""


@dataclass(frozen=True)
class Grouped:
    """Weights with one scale for each group of input channels of an output channel.

    Attributes
    ----------
    bits : of a code, 1 to 16.
    codes : uint16, in the shape of the weights.
    table : float32 scales, of the same rank. Each extent is 1, that of the weights, or the number of groups.
    group : input channels that share a scale; the last group may have fewer.
    """

    bits: int
    codes: np.ndarray
    table: np.ndarray
    group: int

    @property
    def integers(self) -> np.ndarray:
        """What the codes stand for, int32."""
        step, low = step_and_low(self.bits)
        return self.codes.astype(np.int32) * step + low

    def values(self) -> np.ndarray:
        """Return the weights, float32."""
        scales = self.table
        for axis, (extent, wanted) in enumerate(zip(scales.shape, self.codes.shape, strict=True)):
            if 1 < extent < wanted:
                scales = np.repeat(scales, self.group, axis=axis).take(range(wanted), axis=axis)
        return self.integers.astype(np.float32) * scales

    def arranged(self, arrange: Callable[[np.ndarray], np.ndarray], out_axis: int) -> Grouped:
        """Return the same weights in another layout, whose padding is zero.

        ``arrange`` moves and pads arrays that have the weights' extent along ``out_axis``, whatever the others.
        """
        return dataclasses.replace(
            self, codes=arrange(self.codes), table=_arranged(self.table, self.codes, arrange, out_axis)
        )


@dataclass(frozen=True)
class Codebook:
    """Weights that are entries of a table, times a scale an output channel.

    Attributes
    ----------
    bits : of a code.
    codes : uint16, in the shape of the weights.
    table : float32 ``[2^bits]``.
    scales : float32, of the weights' rank; the extent along the output channels is theirs or 1, the others are 1.
    """

    bits: int
    codes: np.ndarray
    table: np.ndarray
    scales: np.ndarray

    def values(self) -> np.ndarray:
        """Return the weights, float32."""
        return self.table[self.codes] * self.scales

    def arranged(self, arrange: Callable[[np.ndarray], np.ndarray], out_axis: int) -> Codebook:
        """Return the same weights in another layout, whose padding is zero."""
        return dataclasses.replace(
            self, codes=arrange(self.codes), scales=_arranged(self.scales, self.codes, arrange, out_axis)
        )


Codes = Grouped | Codebook


def step_and_low(bits: int) -> tuple[int, int]:
    """Return ``(step, low)`` with which a code of a group is the integer ``step * code + low``."""
    return (2, -1) if bits == 1 else (1, 1 - 2 ** (bits - 1))


def _arranged(
    scales: np.ndarray, codes: np.ndarray, arrange: Callable[[np.ndarray], np.ndarray], out_axis: int
) -> np.ndarray:
    """Return scales in another layout: of each output channel one, for ``arrange`` needs their extent."""
    shape = list(scales.shape)
    shape[out_axis] = codes.shape[out_axis]
    return arrange(np.ascontiguousarray(np.broadcast_to(scales, shape)))


def to_stream(codes: np.ndarray, bits: int) -> np.ndarray:
    """Return codes of ``bits`` bits, uint16 of any shape, as bytes, uint8 ``[ceil(size * bits / 8)]``."""
    planes = np.unpackbits(codes.reshape(-1, 1).astype("<u2").view(np.uint8), axis=1, bitorder="little")
    return np.packbits(planes[:, :bits], bitorder="little")


def from_stream(stream: np.ndarray, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the codes, uint16 of ``shape``, of which ``to_stream`` made the bytes; bytes behind them are ignored."""
    planes = np.zeros((int(np.prod(shape)), MAX_BITS), np.uint8)
    found = np.unpackbits(stream, count=planes.shape[0] * bits, bitorder="little")
    planes[:, :bits] = found.reshape(-1, bits)
    return np.packbits(planes, axis=1, bitorder="little").view("<u2").reshape(shape)
