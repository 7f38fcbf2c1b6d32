"""How sums of outer products are cut: columns into vectors, and rows by vectors into register tiles.

A step of a tile of ``rows x vectors`` sums takes as many multiply-adds, two a cycle, and as many loads as the tile has
rows and vectors, two a cycle. A sum waits four cycles for its last step, so fewer than eight sums wait.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from ...passes.hub.packing import ceil_div

LATENCY = 4
"""Cycles of a multiply-add."""

STEP = 0.25
"""Cycles that a step costs beside: its addresses and its jump."""

MOST_TOGETHER = 4
"""Vectors of a tile, at most."""


@dataclass(frozen=True)
class Vectors:
    """Columns as vectors. One that would pass their end begins earlier, and repeats a few lanes of the one before it.

    Attributes
    ----------
    width : columns.
    lanes : of a vector.
    """

    width: int
    lanes: int

    @classmethod
    def of(cls, width: int, lanes: int) -> Vectors:
        """Return vectors of ``lanes``, or of the largest power of two that the columns have."""
        return cls(width, min(lanes, 1 << (width.bit_length() - 1)))

    @property
    def count(self) -> int:
        """How many vectors cover the columns."""
        return ceil_div(self.width, self.lanes)

    @property
    def stored(self) -> int:
        """Lanes of all vectors, which are stored one behind the other."""
        return self.count * self.lanes

    def groups(self, together: int) -> tuple[int, list[int]]:
        """Return how many groups of so many vectors repeat no lane, and the vectors that are left."""
        whole = self.width // self.lanes // together
        return whole, list(range(whole * together, self.count))

    def first_column(self, vector: int) -> int:
        """Return the column of a vector's first lane."""
        return min(vector * self.lanes, self.width - self.lanes)

    def place_of(self, column: tirx.Expr) -> tirx.Expr:
        """Return where a column is stored."""
        shift = self.stored - self.width
        if not shift:
            return column
        is_last = column >= (self.count - 1) * self.lanes
        return column + tirx.Select(is_last, tirx.const(shift, "int32"), tirx.const(0, "int32"))


@dataclass(frozen=True)
class Tile:
    """A register tile.

    Attributes
    ----------
    rows, together : its rows, and its vectors of columns.
    cycles : of a step of all tiles.
    """

    rows: int
    together: int
    cycles: float


def tile_of(extent: int, vectors: int, registers: int) -> Tile:
    """Return the tile with which a result of so many rows and vectors takes fewest cycles."""

    def cycles(rows: int, together: int) -> float:
        return sum(
            tiles * groups * _cycles(height, count)
            for height, tiles in ((rows, extent // rows), (extent % rows, 1))
            for count, groups in ((together, vectors // together), (vectors % together, 1))
            if height and count
        )

    possible = [
        (rows, together)
        for together in range(1, min(MOST_TOGETHER, vectors) + 1)
        for rows in range(1, extent + 1)
        if rows * together + together + 1 <= registers
    ]
    rows, together = min(possible, key=lambda tile: cycles(*tile))
    return Tile(rows, together, cycles(rows, together))


def _cycles(rows: int, vectors: int) -> float:
    return max(rows * vectors / 2, (rows + vectors) / 2, LATENCY) + STEP
