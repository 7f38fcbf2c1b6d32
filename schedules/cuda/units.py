"""What multiplies the tiles of a stage: tensor cores, ``dp4a`` or multiply-adds, and how their sums leave."""

from __future__ import annotations

import math

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ...targets.cuda.calls import device_call, device_value
from .operands import PIECE
from .product import Product
from .tile_loads import swizzled
from .tiles import GRID, WARP, Tile, Unit


class Inner:
    """Emits the products of a stage, and how its sums leave.

    Attributes
    ----------
    slices, slice_rows : parts in which the sums leave, and how many rows of the tile each has.
    held : stages that are being read at a time.
    """

    slices: int
    slice_rows: int
    held = 1

    def __init__(self, product: Product, tile: Tile) -> None:
        self.product, self.tile = product, tile

    def start(self, shared: tirx.Buffer, thread: tirx.Var) -> None:
        """Emit the sums' beginning."""
        self.shared, self.thread = shared, thread
        self.sums = T.alloc_buffer((self.sums_a_thread,), self.product.dtype, scope="local")
        with T.unroll(self.sums_a_thread) as number:
            T.buffer_store(self.sums, tirx.const(0, self.product.dtype), [number])

    def before_barrier(self) -> None:
        """Emit what makes a thread's copies visible to others, beside the barrier."""

    def multiply(self, base: tirx.Expr) -> None:
        """Emit the products of the stage that begins at ``base``."""
        raise NotImplementedError

    def wait(self) -> None:
        """Emit the end of the products of the stage before."""

    def finish(self) -> None:
        """Emit the end of all products."""

    def put(self, part: tirx.Expr, pitch: int) -> None:
        """Emit how a part of the sums goes to shared memory, in rows ``pitch`` bytes apart."""
        raise NotImplementedError

    def row_of(self, part: tirx.Expr, line: tirx.Expr) -> tirx.Expr:
        """Return which row of the tile is a line of a part."""
        raise NotImplementedError

    @property
    def sums_a_thread(self) -> int:
        return self.tile.rows * self.tile.columns // self.tile.threads

    def row(self, base: tirx.Expr, line: tirx.Expr, piece: tirx.Expr) -> tirx.Expr:
        """Return the address of a piece of a row's data, of the stage at ``base``."""
        return T.address_of(self.shared[base + swizzled(line, piece * PIECE, self.tile.data_depth)])

    def column(self, base: tirx.Expr, line: tirx.Expr, piece: tirx.Expr) -> tirx.Expr:
        """Return the address of a piece of a column's factors, of the stage at ``base``."""
        first = base + self.tile.rows * self.tile.data_depth
        return T.address_of(self.shared[first + swizzled(line, piece * PIECE, self.tile.factor_depth)])


class _Matrix(Inner):
    """Tensor cores: products of 16 x 32 by 32 x 8, of a warp."""

    def __init__(self, product: Product, tile: Tile) -> None:
        super().__init__(product, tile)
        self.slices = tile.rows // tile.down // 16
        self.slice_rows = 16 * tile.down
        self.blocks = tile.columns // tile.across // 8

    def start(self, shared: tirx.Buffer, thread: tirx.Var) -> None:
        super().start(shared, thread)
        self.lane, warp = tirx.floormod(thread, WARP), tirx.floordiv(thread, WARP)
        self.down, self.across = tirx.floordiv(warp, self.tile.across), tirx.floormod(warp, self.tile.across)
        self.data = T.alloc_buffer((4 * self.slices,), "uint32", scope="local")
        self.factors = T.alloc_buffer((self.planes * self.blocks,), "uint32", scope="local")
        if self.tile.factor_depth < self.tile.depth:
            self.words = T.alloc_buffer((self.blocks,), "uint32", scope="local")

    @property
    def types(self) -> str:
        """Of the operands, as the products are called by."""
        return self.product.types

    @property
    def planes(self) -> int:
        """Registers of factors that a piece of a column gives a lane, or two pieces that are not packed."""
        return max(2, self.tile.depth // self.tile.factor_depth)

    def multiply(self, base: tirx.Expr) -> None:
        if self.tile.factor_depth == self.tile.depth:
            with T.unroll(self.tile.depth // 32) as step:
                self._load_factors(base, step)
                self._products(base, step, 0)
            return
        steps = self.planes // 2
        with T.unroll(self.tile.factor_depth // PIECE) as piece:
            self._unpack_factors(base, piece)
            with T.unroll(steps) as step:
                self._products(base, piece * steps + step, step * 2)

    def _load_factors(self, base: tirx.Expr, step: tirx.Expr) -> None:
        """Emit the loads of 32 factors of each column: lanes get those of two blocks of 8 columns at once."""
        lane, width = self.lane, self.tile.columns // self.tile.across
        together = 2 if self.blocks % 2 == 0 else 1
        with T.unroll(self.blocks // together) as pair:
            inside = tirx.floormod(lane, 8) + (tirx.floordiv(lane, 16) * 8 if together == 2 else 0)
            line = self.across * width + pair * (8 * together) + inside
            address = self.column(base, line, step * 2 + tirx.floormod(tirx.floordiv(lane, 8), 2))
            device_call(f"ldmatrix_x{2 * together}", T.address_of(self.factors[pair * 2 * together]), address)

    def _unpack_factors(self, base: tirx.Expr, piece: tirx.Expr) -> None:
        """Emit the loads of a word of each column, and its unpacking: a lane's four bytes have what it needs."""
        lane, width = self.lane, self.tile.columns // self.tile.across
        together = math.gcd(self.blocks, 4)
        with T.unroll(self.blocks // together) as group:
            line = self.across * width + (group * together) * 8 + tirx.floormod(lane, 8 * together)
            address = self.column(base, line, piece)
            device_call(f"ldmatrix_x{together}", T.address_of(self.words[group * together]), address)
        with T.unroll(self.blocks) as block:
            factors = T.address_of(self.factors[block * self.planes])
            device_call(f"unpack_s{self.product.factor_bits}", factors, T.address_of(self.words[block]), 4)

    def _products(self, base: tirx.Expr, step: tirx.Expr, first: tirx.Expr) -> None:
        """Emit the loads of 32 numbers of each row, and the products with the factors from register ``first`` on."""
        height = self.tile.rows // self.tile.down
        with T.unroll(self.slices) as part:
            line = self.down * height + part * 16 + tirx.floormod(self.lane, 16)
            address = self.row(base, line, step * 2 + tirx.floordiv(self.lane, 16))
            device_call("ldmatrix_x4", T.address_of(self.data[part * 4]), address)
        with T.unroll(self.slices) as part, T.unroll(self.blocks) as block:
            device_call(
                f"mma_{self.types}",
                T.address_of(self.sums[(part * self.blocks + block) * 4]),
                T.address_of(self.data[part * 4]),
                T.address_of(self.factors[block * self.planes + first]),
            )

    def put(self, part: tirx.Expr, pitch: int) -> None:
        group, member = tirx.floordiv(self.lane, 4), tirx.floormod(self.lane, 4)
        width = self.tile.columns // self.tile.across
        with T.unroll(self.blocks) as block:
            column = self.across * width + block * 8 + member * 2
            for half in range(2):
                line = self.down * 16 + half * 8 + group
                place = self.shared[line * pitch + column * 4]
                sums = self.sums[(part * self.blocks + block) * 4 + 2 * half]
                device_call("shared_store_8", T.address_of(place), T.address_of(sums))

    def row_of(self, part: tirx.Expr, line: tirx.Expr) -> tirx.Expr:
        height = self.tile.rows // self.tile.down
        return tirx.floordiv(line, 16) * height + part * 16 + tirx.floormod(line, 16)


class _Nibbles(_Matrix):
    """Tensor cores: products of 16 x 64 by 64 x 8 numbers of 4 bits.

    Pieces of both operands have numbers 16 places apart in a byte, so that the same places meet; factors lie in memory
    without a sign, and have one after the highest of their four bits is flipped.
    """

    @property
    def types(self) -> str:
        return "u4s4"

    def multiply(self, base: tirx.Expr) -> None:
        with T.unroll(self.tile.data_depth // 32) as step:
            self._load_factors(base, step)
            with T.unroll(2 * self.blocks) as number:
                T.buffer_store(
                    self.factors, self.factors[number] ^ tirx.const(0x88888888, "uint32"), [number]
                )
            self._products(base, step, 0)


class _Warpgroups(Inner):
    """Tensor cores: products of 64 x 32 by 32 x all columns, of four warps, which read shared memory themselves."""

    held = 2

    def __init__(self, product: Product, tile: Tile) -> None:
        super().__init__(product, tile)
        self.groups = tile.down // 4
        self.slices = tile.rows // 64 // self.groups
        self.slice_rows = 64 * self.groups

    def start(self, shared: tirx.Buffer, thread: tirx.Var) -> None:
        super().start(shared, thread)
        # From one lane, so that all of a warp know that they have the same, and operands' places are computed once.
        group = T.alloc_buffer((1,), "int32", scope="local")
        T.buffer_store(group, device_value("int32", "shuffle_s32", tirx.floordiv(thread, 4 * WARP), 0), [0])
        self.group = tirx.BufferLoad(group, [0])

    def before_barrier(self) -> None:
        device_call("shared_fence")

    def multiply(self, base: tirx.Expr) -> None:
        tile = self.tile
        device_call("wgmma_fence")
        with T.unroll(tile.depth // 32) as step, T.unroll(self.slices) as part:
            first = (self.group * self.slices + part) * 64
            device_call(
                f"wgmma_{self.product.types}_{tile.columns}",
                T.address_of(self.sums[part * (tile.columns // 2)]),
                T.address_of(self.shared[base + first * tile.depth + step * 32]),
                T.address_of(self.shared[base + tile.rows * tile.depth + step * 32]),
                tile.depth,
            )
        device_call("wgmma_commit")

    def wait(self) -> None:
        device_call("wgmma_wait", 1)

    def finish(self) -> None:
        device_call("wgmma_wait", 0)

    def put(self, part: tirx.Expr, pitch: int) -> None:
        lane, warp = tirx.floormod(self.thread, WARP), tirx.floordiv(self.thread, WARP)
        with T.unroll(self.tile.columns // 8) as block:
            for half in range(2):
                line = warp * 16 + half * 8 + tirx.floordiv(lane, 4)
                place = self.shared[line * pitch + (block * 8 + tirx.floormod(lane, 4) * 2) * 4]
                sums = self.sums[part * (self.tile.columns // 2) + block * 4 + 2 * half]
                device_call("shared_store_8", T.address_of(place), T.address_of(sums))

    def row_of(self, part: tirx.Expr, line: tirx.Expr) -> tirx.Expr:
        return tirx.floordiv(line, 64) * (64 * self.slices) + part * 64 + tirx.floormod(line, 64)


class _Grid(Inner):
    """Threads in a grid, each with every n-th row and column of the tile."""

    def __init__(self, product: Product, tile: Tile) -> None:
        super().__init__(product, tile)
        self.slice_rows = tile.threads // GRID
        self.slices = tile.rows // self.slice_rows
        self.blocks = tile.columns // GRID

    def start(self, shared: tirx.Buffer, thread: tirx.Var) -> None:
        super().start(shared, thread)
        self.down, self.across = tirx.floordiv(thread, GRID), tirx.floormod(thread, GRID)
        self.data = T.alloc_buffer((4 * self.slices,), self.number, scope="local")
        self.factors = T.alloc_buffer((4 * self.planes,), self.number, scope="local")
        if self.planes > 1:
            self.words = T.alloc_buffer((4,), "uint32", scope="local")

    @property
    def planes(self) -> int:
        """Pieces of factors that a piece of a column has."""
        return self.tile.depth // self.tile.factor_depth

    number: str
    """Dtype of the four numbers of a piece."""

    def multiply(self, base: tirx.Expr) -> None:
        with T.serial(self.tile.factor_depth // PIECE) as piece, T.unroll(self.planes) as plane:
            with T.unroll(self.slices) as part:
                line = part * self.slice_rows + self.down
                address = self.row(base, line, piece * self.planes + plane)
                device_call("shared_load_16", T.address_of(self.data[part * 4]), address)
            with T.unroll(self.blocks) as block:
                self._load_factors(self.column(base, block * GRID + self.across, piece))
                with T.unroll(self.slices) as part, T.unroll(4) as number:
                    place = part * self.blocks + block
                    total = self.add(part * 4 + number, plane * 4 + number, place)
                    T.buffer_store(self.sums, total, [place])

    def _load_factors(self, address: tirx.Expr) -> None:
        if self.planes == 1:
            device_call("shared_load_16", T.address_of(self.factors[0]), address)
            return
        device_call("shared_load_16", T.address_of(self.words[0]), address)
        with T.unroll(4) as word:
            factors, words = T.address_of(self.factors[word]), T.address_of(self.words[word])
            device_call(f"unpack_s{self.product.factor_bits}", factors, words, PIECE)

    def add(self, data: tirx.Expr, factor: tirx.Expr, place: tirx.Expr) -> tirx.Expr:
        """Return a sum with the products of a number of each operand."""
        raise NotImplementedError

    def put(self, part: tirx.Expr, pitch: int) -> None:
        with T.unroll(self.blocks) as block:
            place = self.shared[self.down * pitch + (block * GRID + self.across) * 4]
            sums = self.sums[part * self.blocks + block]
            device_call("shared_store_4", T.address_of(place), T.address_of(sums))

    def row_of(self, part: tirx.Expr, line: tirx.Expr) -> tirx.Expr:
        return part * self.slice_rows + line


class _Dots(_Grid):
    """``dp4a``: four products of bytes."""

    number = "int32"

    def add(self, data: tirx.Expr, factor: tirx.Expr, place: tirx.Expr) -> tirx.Expr:
        operands = T.address_of(self.data[data]), T.address_of(self.factors[factor])
        return device_value("int32", f"dp4a_{self.product.types}", *operands, self.sums[place])


class _Floats(_Grid):
    """Multiply-adds of float32, which round once."""

    number = "float32"

    def add(self, data: tirx.Expr, factor: tirx.Expr, place: tirx.Expr) -> tirx.Expr:
        return T.call_extern("float32", "fmaf", self.data[data], self.factors[factor], self.sums[place])


UNITS: dict[Unit, type[Inner]] = {
    Unit.WARPGROUPS: _Warpgroups,
    Unit.MATRIX: _Matrix,
    Unit.NIBBLES: _Nibbles,
    Unit.DOTS: _Dots,
    Unit.FLOATS: _Floats,
}
