"""The analytic model of products: the tile of a block, from the product's shape and the GPU's row.

A block's time is the slowest of what it asks for: products, bytes from shared memory, and bytes from the second-level
cache. Each multiprocessor has so many blocks to do one after the other; filling the pipeline and writing the result
come with each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ...targets.row import Gpu

WARP = 32
SHARED_BYTES_A_CYCLE = 128
CACHE_BYTES_A_CYCLE = 40
STAGE_CYCLES = 40
"""Of a barrier, and of the reads behind it."""

FILL_CYCLES = 1500
"""Of a block before its first product and behind its last."""


class Unit(Enum):
    """What multiplies."""

    WARPGROUPS = "the tensor cores, for four warps at once, which read both operands from shared memory"
    MATRIX = "the tensor cores"
    DOTS = "dp4a"
    FLOATS = "float32 multiply-adds"


PRODUCTS_A_CYCLE = {Unit.WARPGROUPS: 4096, Unit.MATRIX: 2048, Unit.DOTS: 256, Unit.FLOATS: 64}
"""Of a multiprocessor, per cycle; chips differ by a factor that is the same for all tiles."""


@dataclass(frozen=True)
class Tile:
    """What a block of threads does at a time.

    Attributes
    ----------
    rows, columns : of the result.
    depth : bytes of the inner product that a stage has.
    down, across : warps along rows and columns; of units other than the tensor cores the threads are a grid of
        ``2 * down`` by 16.
    stages : of the pipeline, all of them in shared memory.
    splits : blocks that share the inner product of a tile.
    """

    rows: int
    columns: int
    depth: int
    down: int
    across: int
    stages: int
    splits: int = 1

    @property
    def threads(self) -> int:
        return self.down * self.across * WARP

    @property
    def stage_bytes(self) -> int:
        return (self.rows + self.columns) * self.depth

    def shared_bytes(self, slice_rows: int) -> int:
        """Return the shared memory of a block whose results leave it so many rows at a time."""
        return max(self.stages * self.stage_bytes, slice_rows * self.pitch)

    @property
    def pitch(self) -> int:
        """Bytes from a row of results to the next in shared memory: 8 banks further, so that four rows meet nowhere."""
        return self.columns * 4 + 32


_MATRIX_SHAPES = (
    (128, 256, 2, 4),
    (256, 128, 4, 2),
    (128, 128, 2, 4),
    (128, 128, 2, 2),
    (128, 64, 4, 1),
    (64, 128, 2, 2),
    (64, 64, 2, 2),
    (128, 32, 4, 1),
    (32, 128, 1, 4),
    (64, 32, 4, 1),
    (32, 64, 2, 2),
    (32, 32, 2, 1),
    (16, 64, 1, 2),
    (16, 128, 1, 4),
    (64, 16, 4, 1),
)
_WARPGROUP_SHAPES = (
    (256, 192, 16, 1),
    (128, 256, 8, 1),
    (256, 128, 8, 1),
    (128, 192, 8, 1),
    (128, 128, 8, 1),
    (128, 64, 8, 1),
    (64, 256, 4, 1),
    (64, 128, 4, 1),
    (64, 64, 4, 1),
    (128, 32, 8, 1),
    (64, 32, 4, 1),
)
_GRID_SHAPES = (
    (128, 128, 8, 1),
    (128, 64, 8, 1),
    (64, 64, 8, 1),
    (64, 64, 4, 1),
    (32, 64, 4, 1),
    (32, 32, 4, 1),
    (16, 64, 4, 1),
    (8, 32, 4, 1),
)

_SHAPES = {
    Unit.WARPGROUPS: _WARPGROUP_SHAPES,
    Unit.MATRIX: _MATRIX_SHAPES,
    Unit.DOTS: _GRID_SHAPES,
    Unit.FLOATS: _GRID_SHAPES,
}


def candidates(
    rows: int, columns: int, depth: int, batch: int, item: int, unit: Unit, gpu: Gpu
) -> list[Tile]:
    """Return the tiles that fit the GPU, the best first.

    Parameters
    ----------
    rows, columns, depth : of the product; ``depth`` counts numbers.
    batch : products.
    item : bytes of a number.
    """
    found = [
        Tile(height, width, stage, down, across, stages)
        for height, width, down, across in _SHAPES[unit]
        for stage in ((64, 128) if depth * item > 32 else (32,))
        for stages in ((3, 4) if gpu.copies_async else (2,))
    ]
    fitting = [tile for tile in found if tile.shared_bytes(slice_rows(tile, unit)) <= gpu.block_bytes]
    return sorted(fitting, key=lambda tile: _cycles(tile, rows, columns, depth, batch, item, unit, gpu))


def slice_rows(tile: Tile, unit: Unit) -> int:
    """Return how many rows of a tile's results go through shared memory at a time."""
    if unit in (Unit.MATRIX, Unit.WARPGROUPS):
        return 16 * tile.down
    return 2 * tile.down * tile.across


def _cycles(
    tile: Tile, rows: int, columns: int, depth: int, batch: int, item: int, unit: Unit, gpu: Gpu
) -> float:
    blocks = batch * -(-rows // tile.rows) * -(-columns // tile.columns)
    rounds = -(-blocks // gpu.multiprocessors)
    steps = -(-depth * item // tile.depth)
    numbers = tile.depth // item
    products = tile.rows * tile.columns * numbers / PRODUCTS_A_CYCLE[unit]
    if unit is Unit.WARPGROUPS:  # each group of warps reads its own rows, and all columns for each 64 rows
        read = (tile.rows + tile.columns * (tile.rows // 64)) * tile.depth
    elif unit is Unit.MATRIX:
        read = (tile.rows * tile.across + tile.columns * tile.down) * tile.depth
    else:
        read = (tile.rows + 2 * tile.columns) * tile.down * tile.depth
    shared = (read + tile.stage_bytes) / SHARED_BYTES_A_CYCLE
    cache = tile.stage_bytes / CACHE_BYTES_A_CYCLE
    # Two blocks or more on a multiprocessor hide each other's waits.
    hidden = min(4, gpu.shared_bytes // (tile.stages * tile.stage_bytes + 1024), rounds)
    fill = FILL_CYCLES / max(1, hidden) * (1 + (tile.stages > steps))
    stage = max(products, shared, cache) + STAGE_CYCLES
    return rounds * (steps * stage + fill + tile.rows * tile.columns / 64)
