"""Ranges of sizes, such as ``1..512``: what users give for a dimension that is to stay open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import TvmqError

_TEXT = re.compile(r"\s*(?:(?P<name>[A-Za-z_]\w*)\s*=\s*)?(?P<low>\d+)\s*\.\.\s*(?P<high>\d+)\s*")


@dataclass(frozen=True)
class Range:
    """What sizes a dimension may have.

    Attributes
    ----------
    low, high : the least and the greatest, from 1 on.
    name : of the dimension; those of one name have one size. Empty for the name that the file gives it.
    """

    low: int
    high: int
    name: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.high:
            raise TvmqError(
                f"the range {self} of a dimension must go from 1 at least up to a size no smaller"
            )

    @classmethod
    def parse(cls, text: str) -> Range | None:
        """Return the range that ``1..512`` or ``S=1..512`` is; None for any other text."""
        match = _TEXT.fullmatch(text)
        return cls(int(match["low"]), int(match["high"]), match["name"] or "") if match else None

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"

    def __contains__(self, size: int) -> bool:
        return self.low <= size <= self.high


def fits(shape: Sequence[int], wanted: Sequence[int | Range]) -> bool:
    """Tell whether a shape is one of those that are wanted."""
    return len(shape) == len(wanted) and all(
        size in extent if isinstance(extent, Range) else size == extent
        for size, extent in zip(shape, wanted, strict=True)
    )


def least(extent: int | Range) -> int:
    """Return the least that an extent can be."""
    return extent.low if isinstance(extent, Range) else extent


def greatest(shape: Sequence[int | Range]) -> tuple[int, ...]:
    """Return the greatest of the shapes."""
    return tuple(extent.high if isinstance(extent, Range) else extent for extent in shape)


def shown(shape: Sequence[int | Range]) -> str:
    """Return a shape for people: ``[1, 1..512]``."""
    return "[" + ", ".join(map(str, shape)) + "]"
