"""Products of so few rows that reading the factors takes all the time: a matrix times a vector, or a few of them.

    warp: for each piece of its columns' factors: 16 bytes a lane, times the same places of all rows; sums by shuffles

Each factor is read once, in whole sectors, by one lane; packed weights as they are packed. The data are so small that
they come from the first-level cache.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ...targets.cuda.calls import device_call, device_value
from ...targets.row import Gpu
from ..blocks import item_bytes
from .bits import BYTE
from .operands import PIECE
from .product import Product, count
from .product_kernel import write_result
from .threads import in_registers
from .vectors import Lane, analyzer_of, under
from .warps import WARP, combine_lanes

MOST_ROWS = 8
"""Rows up to which a multiprocessor keeps up with its memory by ``dp4a``."""

LEAST_DEPTH = 64
"""Of the inner product: a shorter one leaves most lanes of a warp idle."""

WARPS = 4
"""Of a block."""

MOST_COLUMNS = 4
"""Of a warp: so many loads of a lane are under way at a time."""


def fits(product: Product) -> bool:
    """Tell whether a product has few rows, and factors that a lane reads 16 bytes at a time."""
    least = PIECE if product.is_bits else LEAST_DEPTH
    if product.scaled is not None or count(product.rows) > MOST_ROWS or product.sums.length < least:
        return False
    batch = tirx.Var("batch", "int32")
    operand = product.factor_operand(batch, {batch: count(product.batch)})
    piece = operand.piece()
    return piece.is_copy and piece.width * product.item == PIECE


def emit(product: Product, gpu: Gpu) -> None:
    """Emit the launch of the kernel."""
    columns, batch = count(product.columns), count(product.batch)
    least, most = (1, MOST_COLUMNS) if product.bits is None else (BYTE, BYTE)
    together = math.gcd(columns, most)
    while together > least and columns // together * batch < 2 * WARPS * gpu.multiprocessors:
        together //= 2
    warps = columns // together * batch
    blocks = -(-warps // WARPS)
    with (
        T.launch_thread("blockIdx.x", blocks) as block,
        T.launch_thread("threadIdx.x", WARPS * WARP) as thread,
    ):
        ranges = {block: blocks, thread: WARPS * WARP}
        number = block * WARPS + tirx.floordiv(thread, WARP)
        # All lanes of a warp have the same number, so a warp works or rests as a whole.
        under(
            [number < warps] if warps % WARPS else [],
            lambda: _Columns(product, together, number, tirx.floormod(thread, WARP), ranges).emit(),
        )


class _Columns:
    """Emits what a warp does: neighbouring columns of all rows."""

    def __init__(
        self,
        product: Product,
        together: int,
        number: tirx.Expr,
        lane: tirx.Expr,
        ranges: Mapping[tirx.Var, int],
    ) -> None:
        self.product, self.together, self.lane, self.ranges = product, together, lane, ranges
        groups = count(product.columns) // together
        self.batch = tirx.floordiv(number, groups) if count(product.batch) > 1 else tirx.const(0, "int32")
        self.first = tirx.floormod(number, groups) * together
        self.rows = count(product.rows)
        self.data = product.data_operand(self.batch, ranges)
        self.factors = product.factor_operand(self.batch, ranges)
        planes = 1 if product.packed is None else product.packed.planes
        self.stored = PIECE // product.item
        """Numbers of a column that a lane reads at a time: of packed weights words."""
        self.numbers = self.stored * planes
        """Places of the inner product that they are."""

    def emit(self) -> None:
        product = self.product
        self.sums = T.alloc_buffer((self.rows * self.together,), product.dtype, scope="local")
        with T.unroll(self.rows * self.together) as number:
            T.buffer_store(self.sums, tirx.const(0, product.dtype), [number])
        pieces = self.factors.length // self.stored
        turns = -(-pieces // WARP)
        with T.serial(turns) as turn:
            piece = turn * WARP + self.lane
            ranges = {**self.ranges, turn: turns}
            under([piece < pieces] if pieces % WARP else [], lambda: self.products(piece, ranges))
        with T.unroll(self.rows * self.together) as number:
            combine_lanes(self.sums, number, operator.add)
        self.write()

    def products(self, piece: tirx.Expr, ranges: Mapping[tirx.Var, int]) -> None:
        """Emit the products of a piece of each column with all rows."""
        dtype = str(self.product.factor.ty.dtype) if self.product.packed is None else "uint8"
        factors = T.alloc_buffer((self.together * self.stored,), dtype, scope="local")
        for column in range(self.together):
            self._load(factors, column * self.stored, self.factors.at, self.first + column, piece, ranges)
        weights = factors if self.product.packed is None else self._unpacked(factors)
        for row in range(self.rows):
            var = tirx.Var("lane", "int32")
            lane = Lane(var, self.numbers, analyzer_of({**ranges, var: self.numbers}))
            data = self._data(row, piece, lane)
            for column in range(self.together):
                self._add(row * self.together + column, data, weights, column * self.numbers)

    def _load(
        self,
        numbers: tirx.Buffer,
        first: int,
        at: Callable[[tirx.Expr, tirx.Expr], tirx.Expr],
        line: tirx.Expr,
        piece: tirx.Expr,
        ranges: Mapping[tirx.Var, int],
    ) -> None:
        load = at(line, piece * self.stored)
        place = [analyzer_of(ranges).simplify(index) for index in load.indices]
        device_call("load_const_16", T.address_of(numbers[first]), T.address_of(load.source[tuple(place)]))

    def _unpacked(self, words: tirx.Buffer) -> tirx.Buffer:
        """Emit the unpacking of all columns' weights, in the order of their places."""
        weights = T.alloc_buffer((self.together * self.numbers,), "int8", scope="local")
        bits = self.product.factor_bits
        with T.unroll(self.together) as column, T.unroll(PIECE // 4) as word:
            target = T.address_of(weights[column * self.numbers + word * 4])
            device_call(f"unpack_s{bits}", target, T.address_of(words[column * PIECE + word * 4]), PIECE)
        return weights

    def _data(self, row: int, piece: tirx.Expr, lane: Lane) -> tirx.Buffer:
        """Emit the loads of a row's data at the places of a piece."""
        place = piece * self.numbers + lane.var
        value = self.data.at(tirx.const(row, "int32"), place)
        if self.data.length % self.numbers:  # behind the last place there are factors of 0
            value = tirx.if_then_else(place < self.data.length, value, tirx.const(0, str(value.ty.dtype)))
        return in_registers(value, lane)

    def _add(self, place: int, data: tirx.Buffer, factors: tirx.Buffer, first: int) -> None:
        """Emit the products of a row and a column."""
        if self.product.dtype == "float32":
            with T.unroll(self.numbers) as number:
                total = T.call_extern(
                    "float32", "fmaf", data[number], factors[first + number], self.sums[place]
                )
                T.buffer_store(self.sums, total, [place])
            return
        if self.product.is_bits:
            operands = T.address_of(data[0]), T.address_of(factors[first])
            T.buffer_store(
                self.sums, device_value("int32", "unlike_16", *operands, self.sums[place]), [place]
            )
            return
        with T.unroll(self.numbers // 4) as word:
            operands = T.address_of(data[word * 4]), T.address_of(factors[first + word * 4])
            total = device_value("int32", f"dp4a_{self.product.types}", *operands, self.sums[place])
            T.buffer_store(self.sums, total, [place])

    def write(self) -> None:
        """Emit the results: a lane has a row's, since all lanes know all sums."""
        product = self.product
        width = math.gcd(self.together, PIECE // item_bytes(product.result.buffer))
        last = product.columns[-1][1] if product.columns else 1
        width = math.gcd(width, last)
        for row in range(self.rows):
            with T.If(self.lane == row), T.Then():
                for start in range(0, self.together, width):
                    var = tirx.Var("lane", "int32")
                    lane = Lane(var, width, analyzer_of({**self.ranges, var: width}))
                    own = T.alloc_buffer((width,), product.dtype, scope="local")
                    for place in range(width):
                        T.buffer_store(own, self.sums[row * self.together + start + place], [place])
                    write_result(product, self.batch, tirx.const(row, "int32"), self.first + start, own, lane)
