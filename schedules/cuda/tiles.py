"""The analytic model of products: the tile of a block, from the product's shape and the GPU's row.

A block's time is the slowest of what it asks for: products, bytes from shared memory, and bytes from the second-level
cache. Each multiprocessor has so many blocks to do one after the other; filling the pipeline and writing the result
come with each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ...targets.row import Gpu
from .operands import PIECE
from .warps import WARP

GRID = 16
"""Threads that lie side by side across a tile, where no tensor cores multiply."""

ROWS_OF_A_WARP = 32
"""Rows up to which a warp's own products waste less than those of 64 rows."""

SHARED_BYTES_A_CYCLE = 128
CACHE_BYTES_A_CYCLE = 40
STAGE_CYCLES = 40
"""Of a barrier, and of the reads behind it."""

LAUNCH_CYCLES = 4000
"""From a kernel to the next: what it takes to add the parts of split sums."""

FILL_CYCLES = 1500
"""Of a block before its first product and behind its last."""


class Unit(Enum):
    """What multiplies."""

    WARPGROUPS = "the tensor cores, for four warps at once, which read both operands from shared memory"
    MATRIX = "the tensor cores"
    NIBBLES = "the tensor cores, for numbers of 4 bits"
    BITS = "the tensor cores, of bytes that bits are unpacked to"
    COUNTS = "counts of the bits that are unlike"
    DOTS = "dp4a"
    FLOATS = "float32 multiply-adds"


PRODUCTS_A_CYCLE = {
    Unit.WARPGROUPS: 4096,
    Unit.MATRIX: 2048,
    Unit.NIBBLES: 4096,
    Unit.BITS: 256,
    Unit.COUNTS: 80,
    Unit.DOTS: 256,
    Unit.FLOATS: 64,
}
"""Of a multiprocessor, per cycle, of bits eight for one; chips differ by a factor that is the same for all tiles."""


@dataclass(frozen=True)
class Tile:
    """What a block of threads does at a time.

    Attributes
    ----------
    unit : what multiplies.
    rows, columns : of the result.
    depth : bytes of the inner product that a stage has, as data lie in memory.
    down, across : warps along rows and columns; of units other than the tensor cores the threads are a grid of
        ``2 * down`` by ``GRID``.
    stages : of the pipeline, all of them in shared memory.
    bits : of a factor, where factors are packed weights; 8 of all others.
    splits : parts of the inner product that have a tile each.
    """

    unit: Unit
    rows: int
    columns: int
    depth: int
    down: int
    across: int
    stages: int
    bits: int = 8
    splits: int = 1

    @property
    def threads(self) -> int:
        return self.down * self.across * WARP

    @property
    def data_depth(self) -> int:
        """Bytes of a row's data in a stage."""
        return self.depth // 2 if self.unit is Unit.NIBBLES else self.depth

    @property
    def factor_depth(self) -> int:
        """Bytes of a column's factors in a stage: packed weights stay packed where registers unpack them."""
        return self.depth if self.unit is Unit.WARPGROUPS else self.depth * self.bits // 8

    @property
    def unpacked_bits(self) -> int:
        """Of packed weights that are unpacked on the way to shared memory; 8 of others."""
        return self.bits if self.unit is Unit.WARPGROUPS else 8

    @property
    def stage_bytes(self) -> int:
        return self.rows * self.data_depth + self.columns * self.factor_depth

    @property
    def slice_rows(self) -> int:
        """Rows of results that go through shared memory at a time."""
        if self.unit in (Unit.MATRIX, Unit.NIBBLES, Unit.BITS, Unit.WARPGROUPS):
            return 16 * self.down
        return self.threads // GRID

    @property
    def pitch(self) -> int:
        """Bytes from a row of results to the next in shared memory: 8 banks further, so that four rows meet nowhere."""
        return self.columns * 4 + 32

    @property
    def shared_bytes(self) -> int:
        return max(self.stages * self.stage_bytes, self.slice_rows * self.pitch)


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
    Unit.NIBBLES: _MATRIX_SHAPES,
    Unit.BITS: _MATRIX_SHAPES,
    Unit.COUNTS: _GRID_SHAPES,
    Unit.DOTS: _GRID_SHAPES,
    Unit.FLOATS: _GRID_SHAPES,
}


LONGEST_OF_BITS = 8 * (2**16 - 1024)
"""Bits whose products as bytes, of 2^12 each, have room in int32."""


def unit_of(rows: int, depth: int, item: int, data_bits: int, factor_bits: int, gpu: Gpu) -> Unit:
    """Return what multiplies numbers of ``item`` bytes, or less, in a product of so many rows and terms."""
    if data_bits == factor_bits == 1:
        if 1 in gpu.matrix_bits:
            return Unit.MATRIX
        return Unit.BITS if 8 in gpu.matrix_bits and 8 * depth <= LONGEST_OF_BITS else Unit.COUNTS
    if item > 1:
        return Unit.FLOATS
    if data_bits == factor_bits == 4 and 4 in gpu.matrix_bits:
        return Unit.NIBBLES
    if 8 not in gpu.matrix_bits:
        return Unit.DOTS
    return Unit.WARPGROUPS if gpu.warpgroups and rows > ROWS_OF_A_WARP else Unit.MATRIX


def candidates(
    rows: int, columns: int, depth: int, batch: int, item: int, data_bits: int, factor_bits: int, gpu: Gpu
) -> list[Tile]:
    """Return the tiles that fit the GPU, the best first.

    Parameters
    ----------
    rows, columns, depth : of the product; ``depth`` counts numbers.
    batch : products.
    item : bytes of a number.
    data_bits, factor_bits : of a number of the data, and of a factor in memory.
    gpu : what it runs on.
    """
    unit = unit_of(rows, depth, item, data_bits, factor_bits, gpu)
    bits = 8 if data_bits == 1 else min(factor_bits, 8)
    found = [
        Tile(unit, height, width, stage, down, across, stages, bits, splits)
        for height, width, down, across in _SHAPES[unit]
        for stage in ((64, 128) if depth * item > 32 or bits < 4 or unit is Unit.NIBBLES else (32,))
        for stages in ((3, 4) if gpu.copies_async else (2,))
        for splits in (_splits(depth, stage) if item == 1 and bits == 8 else (1,))
    ]
    fitting = [tile for tile in found if tile.shared_bytes <= gpu.block_bytes]

    def key(tile: Tile) -> tuple[int, int]:
        # Of equals that with the most stages: its copies have the longest time to arrive.
        return round(cycles(tile, rows, columns, depth, batch, item, gpu)), -tile.stages

    return sorted(fitting, key=key)


def _splits(depth: int, stage: int) -> list[int]:
    """Return into how many parts sums of integers can be split, each of some stages of its own."""
    return [
        1,
        *(parts for parts in (2, 4, 8, 16) if depth % (parts * PIECE) == 0 and depth >= 4 * parts * stage),
    ]


def cycles(tile: Tile, rows: int, columns: int, depth: int, batch: int, item: int, gpu: Gpu) -> float:
    """Return how long a multiprocessor takes for its share of a product; parameters as for ``candidates``."""
    blocks = batch * tile.splits * -(-rows // tile.rows) * -(-columns // tile.columns)
    rounds = -(-blocks // gpu.multiprocessors)
    steps = -(-depth * item // (tile.depth * tile.splits))
    numbers = tile.depth // item
    products = tile.rows * tile.columns * numbers / PRODUCTS_A_CYCLE[tile.unit]
    if (
        tile.unit is Unit.WARPGROUPS
    ):  # each group of warps reads its own rows, and all columns for each 64 rows
        read = tile.rows * tile.depth + tile.columns * tile.factor_depth * (tile.rows // 64)
    elif tile.unit in (Unit.MATRIX, Unit.NIBBLES, Unit.BITS):
        read = tile.rows * tile.data_depth * tile.across + tile.columns * tile.factor_depth * tile.down
    else:
        read = (tile.rows * tile.depth + 2 * tile.columns * tile.factor_depth) * tile.down
    shared = (read + tile.stage_bytes) / SHARED_BYTES_A_CYCLE
    cache = tile.stage_bytes / CACHE_BYTES_A_CYCLE
    # Two blocks or more on a multiprocessor hide each other's waits.
    hidden = min(4, gpu.shared_bytes // (tile.stages * tile.stage_bytes + 1024), rounds)
    fill = FILL_CYCLES / max(1, hidden) * (1 + (tile.stages > steps))
    stage = max(products, shared, cache) + STAGE_CYCLES
    own = rounds * (steps * stage + fill + tile.rows * tile.columns / 64)
    if tile.splits == 1:
        return own
    moved = 8 * batch * rows * columns * tile.splits / (gpu.multiprocessors * CACHE_BYTES_A_CYCLE)
    return own + LAUNCH_CYCLES + moved
