"""The register tile of sums of outer products: how many numbers of one operand by how many vectors of the other.

A step of a tile of ``rows x vectors`` sums takes as many multiply-adds, two a cycle, and as many loads as the tile has
rows and vectors, two a cycle. A sum waits four cycles for its last step, so fewer than eight sums wait.
"""

from __future__ import annotations

from dataclasses import dataclass

LATENCY = 4.0
"""Cycles of a multiply-add."""

STEP = 0.25
"""Cycles that a step costs beside: its addresses and its jump."""

MOST_TOGETHER = 4
"""Vectors of a tile, at most."""


@dataclass(frozen=True)
class Tile:
    """How rows and columns of the result are cut.

    Attributes
    ----------
    extent, width : rows and columns.
    rows, together : of a tile: rows, and vectors of columns.
    lanes : columns of a vector.
    cycles : of a step of all tiles.
    """

    extent: int
    width: int
    rows: int
    together: int
    lanes: int
    cycles: float

    @property
    def vectors(self) -> int:
        """Vectors that cover the columns; the last may begin before the one in front of it ends."""
        return -(-self.width // self.lanes)

    @property
    def is_whole(self) -> bool:
        """Whether the vectors do not overlap."""
        return self.width % self.lanes == 0


def tile_of(extent: int, width: int, lanes: int, registers: int) -> Tile:
    """Return the tiles of fewest cycles for a result of so many rows and columns.

    Parameters
    ----------
    lanes : of a register; columns that are fewer take the largest power of two that they have.
    """
    while lanes > width:
        lanes //= 2
    vectors = -(-width // lanes)

    def cycles(rows: int, together: int) -> float:
        return sum(
            many * _cycles(height, count)
            for height, tiles in ((rows, extent // rows), (extent % rows, 1))
            for count, groups in ((together, vectors // together), (vectors % together, 1))
            if (many := tiles * groups if height and count else 0)
        )

    possible = [
        (rows, together)
        for together in range(1, min(MOST_TOGETHER, vectors) + 1)
        for rows in range(1, min(extent, registers) + 1)
        if rows * together + together + 1 <= registers
    ]
    rows, together = min(possible, key=lambda tile: cycles(*tile))
    return Tile(extent, width, rows, together, lanes, cycles(rows, together))


def _cycles(rows: int, vectors: int) -> float:
    return max(rows * vectors / 2, (rows + vectors) / 2, LATENCY) + STEP
