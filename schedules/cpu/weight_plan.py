"""How the sums of ``weight_sums`` are cut: into rows and columns, tiles, chunks, and threads' shares."""

from __future__ import annotations

from dataclasses import dataclass

from ...passes.hub.packing import ceil_div
from ...targets.row import TargetRow
from .outer_tiles import Tile, Vectors, tile_of
from .taps import Places

PLACES_A_THREAD = 512
"""From so many on threads have places of their own: adding up their sums then costs a few hundredths of the time."""

MOST_PLACES = 160
"""Of a chunk: what a tile reads of them still fits the first-level cache."""

COPYING_TILES = 8
"""From so many tiles on that read the same columns, these are copied first, one place behind the other."""

TURNING = 4
"""Cycles that a sum costs whose rows and columns are not those of the result."""

FEW_PLACES = 64
"""Up to so many the result is more than what it is made of: it is written along its rows."""


@dataclass(frozen=True)
class Plan:
    """The cut of sums over places, ``[taps * groups, extent, columns]``.

    Attributes
    ----------
    by_data : whether rows are channels of the data, and columns those of the gradient; else it is the other way round.
    extent, vectors, tile : rows, columns, and the register tile that both are cut into.
    rows : places, or runs of places that lie in a row of the result.
    slices : of the places, each with sums of its own.
    parts : of the sums, in each slice.
    chunks, chunk : of a slice: how many, and rows of each.
    block_tiles : tiles whose rows stay in the second-level cache from one tile of columns to the next.
    copies : whether the columns of a tile are copied first.
    by_rows : whether tiles that follow each other have the same rows; else they have the same columns.
    """

    by_data: bool
    extent: int
    vectors: Vectors
    tile: Tile
    rows: int
    slices: int
    parts: int
    chunks: int
    chunk: int
    block_tiles: int
    copies: bool
    by_rows: bool

    @classmethod
    def of(
        cls, places: Places, channels: tuple[int, int], is_product: bool, row: TargetRow, threads: int
    ) -> Plan:
        """Return the cut.

        Parameters
        ----------
        channels : of a group of the data, and of the gradient.
        is_product : whether rows of the result are channels of the data; else those of the gradient.
        """
        cuts = []
        for extent, width in (channels, channels[::-1]):
            vectors = Vectors.of(width, row.vector_bits // 32)
            cuts.append((extent, vectors, tile_of(extent, vectors.count, row.vector_registers)))
        images, height, width = places.result
        rows, length = (images * height * width, 1) if places.are_same else (images * height, width)
        faster = rows * length * (cuts[0][2].cycles - cuts[1][2].cycles)
        turning = TURNING * channels[0] * channels[1]
        by_data = faster < (turning if is_product else -turning)
        extent, vectors, tile = cuts[0 if by_data else 1]

        slices = threads if rows * length >= PLACES_A_THREAD * threads else 1
        own = ceil_div(rows, slices)
        chunks = ceil_div(own, max(1, MOST_PLACES // length))
        chunk = ceil_div(own, chunks)
        few = chunks == 1 and chunk * length <= FEW_PLACES
        return cls(
            *(by_data, extent, vectors, tile, rows, slices, 1 if slices > 1 else threads, chunks, chunk),
            block_tiles=max(1, row.l2_bytes // 2 // (4 * tile.rows * chunk * length)),
            copies=not few and places.are_same and extent >= COPYING_TILES * tile.rows,
            by_rows=few,
        )
