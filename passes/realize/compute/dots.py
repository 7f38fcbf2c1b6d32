"""How an inner product is laid out: what weights, data and sums look like to the instruction that adds them up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ....targets.bit_products import unit_of
from ...hub.packing import STORED_BITS, TILE_ROWS, ceil_div, padded_rows

ANY_ROWS = 4
"""Rows of a register tile where their number is open."""

ANY_BLOCKS = 2
"""Blocks of channels of one, where that is open."""


@dataclass(frozen=True)
class Narrow:
    """Sums in a dtype narrower than the accumulator's: of ``steps`` groups, and then widened.

    Attributes
    ----------
    dtype : of the narrow sums.
    parts : how many of them a lane has, each of ``depth / parts`` products of a group.
    steps : groups of ``depth`` that are added before they are widened; as ``possible_steps`` gives them.
    tail : of one-bit products, as in ``targets.bit_products``; None of all others.
    fraction : bits behind the point that the accumulator has.
    """

    dtype: str
    parts: int
    steps: int
    tail: int | None = None
    fraction: int = 0

    @property
    def factor(self) -> int:
        """What one of a narrow sum is in the accumulator."""
        return (1 if self.tail is None else unit_of(self.tail)) << self.fraction


@dataclass(frozen=True)
class Dot:
    """How the inner product is laid out: ``lanes`` x ``depth`` weights an instruction, data in ``data_dtype``.

    Attributes
    ----------
    accumulator_dtype : ``"int32"``, or ``"float32"`` for float operators, whose data and weights may be
        ``"bfloat16"``.
    steps : groups of ``depth`` that an instruction takes at a time.
    rows : of activations that it takes; of two, the sums of two channels each lie in one register.
    weight_bits : of a weight in memory; fewer than 8 are packed by ``packing.pack_planes``.
    words : packed words that an instruction takes at a time; 0 where it takes weights of 8 bits, to which a kernel
        unpacks those of fewer for all of its rows.
    narrow : how sums begin; None where an instruction adds to the accumulator itself.
    data_bits : that activations have at most, not below 0; 8 where that makes no difference.
    any_extent : the extents of the product are a sample of any.
    tile_rows : of a register tile, at most.
    merges_rows : all rows of a batch of data are one run of rows, of which a register tile takes any that follow each
        other.
    """

    lanes: int
    depth: int
    data_dtype: str
    accumulator_dtype: str = "int32"
    steps: int = 1
    rows: int = 1
    weight_dtype: str = "int8"
    weight_bits: int = STORED_BITS[-1]
    words: int = 0
    narrow: Narrow | None = None
    data_bits: int = 8
    any_extent: bool = False
    tile_rows: int = TILE_ROWS[0]
    merges_rows: bool = False

    def padded_rows(self, rows: int) -> int:
        """Return in how many rows, whole register tiles of them, so many are computed."""
        if self.any_extent:
            return ceil_div(rows, ANY_ROWS) * ANY_ROWS
        return padded_rows(rows, self.rows, self.tile_rows)

    @property
    def is_binary(self) -> bool:
        """Whether data and weights are codes of four bits."""
        return self.narrow is not None and self.narrow.tail is not None

    @property
    def planes(self) -> int:
        """Steps of the sum in a packed word."""
        return 8 // self.weight_bits


def possible_steps(taps: Sequence[int], most: int) -> list[int]:
    """Return how many neighbouring steps of nested loops can be taken together, at most ``most``; the largest first.

    Those of (KH, KW, K) are a divisor of K, or K times one of KW, or K * KW times one of KH.
    """
    found = {1}
    inner = 1
    for extent in reversed(taps):
        found |= {inner * part for part in range(1, extent + 1) if extent % part == 0}
        inner *= extent
    return sorted((steps for steps in found if steps <= most), reverse=True)


def split_taps(taps: Sequence[int], steps: int) -> tuple[list[int], list[int]]:
    """Return extents of loops outside and inside so that inside are ``steps`` of ``possible_steps``."""
    outer: list[int] = []
    inner: list[int] = []
    for extent in reversed(taps):
        part = math.gcd(extent, steps)
        outer.insert(0, extent // part)
        inner.insert(0, part)
        steps //= part
    return outer, inner
