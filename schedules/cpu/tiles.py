"""The analytic model: register tile and cache chunk of a kernel, from the target's row.

A register tile of ``rows x blocks`` accumulators uses, a step of the inner product, ``rows`` broadcast activations
and ``blocks`` weight vectors for ``rows * blocks`` instructions, so the best tile has the least
``(rows + WEIGHT_COST * blocks) / (rows * blocks)`` among those that fit the registers. A weight vector costs more
than a broadcast: it occupies a register, and may have to be widened.
"""

from __future__ import annotations

from ...targets.row import TargetRow

WEIGHT_COST = 2
PAIRS_HELD = 6
"""Registers for pairs of rows, and for weights of further steps, beside a tile of sums of two rows."""

DEAR_ROW = 6
"""Cost of the activations of a row that take instructions of their own: two rows of which one register is made, or a
pair that comes into all lanes, by an address and a load for each, while weights come two registers a load.
"""

MAX_BLOCK_BYTES = 64
LOOK_UP_ROWS = 7
"""Of a tile whose products are looked up, at most: each row's entries have an address in a register of their own."""

SHORT_VECTOR = 16
"""Bytes of a block whose neighbours LLVM joins into one vector; those of other than 2**n blocks it keeps as scalars."""

STACK_BYTES = 1024
"""TVM keeps a buffer smaller than this on the stack, from where LLVM takes it into registers; others are allocated."""

UNPACKING_COST = 2.0
"""Of a byte of weights, where one from the second-level cache costs 1."""

MOST_IDLE = 0.1
"""Share of its threads' time that a kernel may leave unused for the sake of its memory traffic."""

SERIAL_WORK = 1 << 19
"""Multiply-adds under which waking threads costs more than they save: about 5 us of work."""


def divisors(extent: int) -> list[int]:
    """Return the divisors in increasing order."""
    return [value for value in range(1, extent + 1) if extent % value == 0]


def register_tiles(
    rows: int,
    blocks: int,
    lanes: int,
    row: TargetRow,
    shared: int = 1,
    steps: int = 1,
    lane_bits: int = 32,
    looks_up: bool = False,
    held: int = 0,
    row_cost: int = 1,
    is_fused: bool = False,
) -> list[tuple[int, int]]:
    """Return the possible rows and blocks of the register tile, the best first; all divide their extents.

    Parameters
    ----------
    rows, blocks : extents of the accumulator.
    lanes : 32-bit accumulators a block, at least one vector register's worth.
    shared : a tile has so many times its rows.
    steps : weight vectors that an instruction takes.
    lane_bits : of a lane in registers, where those are not the accumulators but narrow sums.
    looks_up : products are looked up.
    held : registers that are taken all the time.
    row_cost : of the activations of a row of the tile.
    is_fused : one instruction multiplies and adds, so no register holds products.
    """
    most_rows, most_bytes = (LOOK_UP_ROWS, MAX_BLOCK_BYTES) if looks_up else (rows, 2 * MAX_BLOCK_BYTES)
    registers_a_block = max(1, lanes * lane_bits // row.vector_bits)
    block_bytes = lanes * lane_bits // 8

    def fits(tile_rows: int, tile_blocks: int) -> bool:
        weights = tile_blocks * registers_a_block
        if is_fused and weights == 1 and 2 * tile_rows > row.vector_registers:
            return False  # LLVM takes two steps together, and keeps both sums
        return (
            tile_rows <= most_rows
            and (tile_blocks.bit_count() == 1 or block_bytes > SHORT_VECTOR)
            and (tile_blocks == 1 or tile_blocks * block_bytes <= most_bytes)
            and shared * tile_rows * weights + steps * weights + held + 1 < row.vector_registers + is_fused
            and shared * tile_rows * tile_blocks * block_bytes < STACK_BYTES
        )

    def cost(tile: tuple[int, int]) -> float:
        tile_rows, weights = tile[0], tile[1] * registers_a_block
        return (row_cost * tile_rows + WEIGHT_COST * weights) / (tile_rows * weights)

    fitting = [
        (tile_rows, tile_blocks)
        for tile_blocks in divisors(blocks)
        for tile_rows in divisors(rows)
        if fits(tile_rows, tile_blocks)
    ]
    return sorted(fitting, key=cost) or [(1, 1)]


def chunks(
    extent: int,
    bytes_a_row: int,
    weight_bytes: int,
    blocks: int,
    outer: int,
    threads: int,
    row: TargetRow,
    is_unpacked: bool = False,
) -> list[int]:
    """Return how many output rows may share one pass over the weights, the best first: divisors of ``extent``.

    Small weights stay in the first-level cache by themselves, so rows go by few and every thread gets some. Else
    the best chunk moves the least data: each pass reads all weights once, and for each of the ``blocks`` of channels
    the chunk's input again. Weights that are unpacked are unpacked for each pass, where they do not stay in that cache.
    """
    possible = divisors(extent)
    if weight_bytes <= row.l1_bytes // 2:
        wanted = max(1, extent * outer // (4 * threads))
        best = max(
            chunk
            for chunk in possible
            if chunk == 1 or (chunk <= wanted and chunk * bytes_a_row <= row.l1_bytes // 2)
        )
    else:

        def traffic(chunk: int) -> float:
            strip = chunk * bytes_a_row
            a_byte = _cost_of(weight_bytes, row) + (UNPACKING_COST if is_unpacked else 0.0)
            a_pass = weight_bytes * a_byte + blocks * strip * _cost_of(strip, row)
            return extent // chunk * a_pass

        def idle(chunk: int) -> float:
            """Return which share of the threads' time nobody works, where it is more than a tenth."""
            pieces = outer * (extent // chunk)
            if pieces < min(threads, blocks):
                pieces *= blocks  # threads share the blocks of channels too
            rounds = -(-pieces // threads)
            share = 1 - pieces / (rounds * threads)
            return share if share > MOST_IDLE else 0.0

        best = min(possible, key=lambda chunk: (idle(chunk), traffic(chunk)))
    return [best, *(chunk for chunk in possible if chunk != best)]


def _cost_of(working_set: int, row: TargetRow) -> float:
    """Return what a byte costs that is read again and again from a working set of this size.

    It comes from the least cache that holds the set with some room to spare; from the first level it is free.
    """
    if working_set <= row.l1_bytes * 3 // 4:
        return 0.0
    return 1.0 if working_set <= row.l2_bytes * 3 // 4 else 4.0
