"""Kernel of attention: a few queries at a time against all keys, so that scores never leave the caches.

    for each head:  keys, transposed, in blocks of a vector's width
        for each block of queries, for each chunk of keys:
            scores = queries @ keys  -->  steps  -->  powers  -->  sums = sums * correction + powers @ values

Where keys and values fit the second-level cache they are one chunk, and nothing is ever corrected. Else the softmax
runs: what is summed up is relative to the greatest score so far (Milakov and Gimelshein, Online normalizer calculation
for softmax, 2018, https://arxiv.org/abs/1805.02867; Dao et al., FlashAttention, 2022, https://arxiv.org/abs/2205.14135).

Registers hold a tile of queries by two vectors of keys, then of values. Queries beyond the last repeat it, and are not
written. For fewer than four, transposing all keys would cost more than it saves: they are multiplied as they lie.

It is written by hand, loop by loop: a schedule has one accumulator, and this kernel two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlock
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ...passes.hub.packing import ceil_div
from ...passes.realize.compute.annotations import ATTENTION
from ...passes.realize.compute.attention import LEAST, Attention, extents, is_one, placed
from ...passes.realize.compute.product import PACKING_ROWS
from ...passes.realize.compute.vectors import exponential, load, number, store, sums_of, transposed
from ...targets.row import TargetRow

SQUARE = 8
"""Side of the squares in which numbers are transposed, where a vector has as many."""

VECTORS = 2
"""Of keys, or of values, in a register tile."""

LOWEST = -3.4028234663852886e38
"""The least float32: a greatest score before there is one."""


Extent: TypeAlias = int | tirx.Expr


def attention_kernel(
    func: tirx.PrimFunc, row: TargetRow, threads: int, greatest: Callable[[tirx.Expr], int] = int
) -> tirx.PrimFunc | None:
    """Return the function as this kernel; None where it is no attention.

    Parameters
    ----------
    greatest : of an extent, which may be an expression.
    """
    form = _form(func)
    if form is None:
        return None
    made = _Kernel(form, list(func.params), row, threads, greatest).emit()
    return made.with_attrs({**dict(func.attrs or {}), "tirx.is_scheduled": True})


def _form(func: tirx.PrimFunc) -> Attention | None:
    found: list[Attention] = []

    def note(block: SBlock) -> None:
        if ATTENTION in block.annotations:
            found.append(Attention.loads(str(block.annotations[ATTENTION])))

    tvm_ffi.structural_walk(func.body, [(SBlock, note)])
    return found[0] if found else None


def _rows(most: int, length: int) -> int:
    """Return how many queries a tile has: of up to ``most`` those that leave the least to do twice."""
    if length <= most:
        return length
    return min(
        range(max(1, most - 2), most + 1), key=lambda rows: (ceil_div(length, rows) * (rows + 1), -rows)
    )


class _Kernel:
    """Emits the function."""

    def __init__(
        self,
        form: Attention,
        buffers: Sequence[tirx.Buffer],
        row: TargetRow,
        threads: int,
        greatest: Callable[[tirx.Expr], int],
    ) -> None:
        self.form, self.buffers, self.greatest = form, buffers, greatest
        query, key, value = buffers[:3]
        batch, heads, queries, depth = extents(form.orders[0], query.shape)
        _, key_heads, keys, _ = extents(form.orders[1], key.shape)
        self.batch, self.queries, self.keys = map(_fixed, (batch, queries, keys))
        self.heads, self.key_heads, self.depth = map(int, (heads, key_heads, depth))
        self.width = int(value.shape[-1])
        self.lanes = row.vector_bits // 32
        # Sums, the operands of one step, and a register to spare.
        self.rows = _rows((row.vector_registers - VECTORS - 2) // VECTORS, greatest(queries))
        self.columns = VECTORS * self.lanes
        self.is_packed = greatest(queries) >= PACKING_ROWS or self.depth % self.lanes > 0
        self.padded_width = ceil_div(self.width, self.lanes) * self.lanes
        a_key = 4 * (self.depth + self.padded_width)
        fitting = max(self.columns, row.l2_bytes // 2 // a_key // self.columns * self.columns)
        self.runs = greatest(keys) > 2 * fitting
        self.chunk = fitting if self.runs else self.keys
        self.tiles = _whole(self.queries, self.rows)
        # A chunk of keys and values is read once for all queries of a block.
        most_tiles = ceil_div(greatest(queries), self.rows)
        vectors = self.padded_width // self.lanes
        fit = max(1, (row.vector_registers - 1) // (self.rows + 1))
        self.together = max(each for each in range(1, vectors + 1) if vectors % each == 0 and each <= fit)
        near = ceil_div(row.l1_bytes, 4 * self.rows * self.padded_width)
        self.block = min(most_tiles, near) if self.runs else 1
        self.pieces = _pieces(greatest(batch) * self.heads, ceil_div(most_tiles, self.block), threads)
        self.threads, self.converts_by = threads, row.converts_by

    def emit(self) -> tirx.PrimFunc:
        with IRBuilder() as builder, T.prim_func(s_tir=True):
            self.args = [
                T.arg(f"arg{place}", T.buffer(buffer.shape, str(buffer.dtype)))
                for place, buffer in enumerate(self.buffers)
            ]
            self.query, self.key, self.value, *self.operands, self.result = self.args
            with T.sblock("root"):
                T.reads()
                T.writes()
                groups = self.batch * self.heads * self.pieces
                with (T.parallel if self.threads > 1 else T.serial)(0, groups) as group:
                    self._group(group)
        return builder.get()

    def _group(self, group: tirx.Var) -> None:
        """Emit what one thread does at a time: some blocks of queries of one head."""
        head = tirx.floordiv(group, self.pieces)
        self.b, self.h = tirx.floordiv(head, self.heads), tirx.floormod(head, self.heads)
        self.g = tirx.floordiv(self.h, self.heads // self.key_heads)
        blocks, chunk_blocks = (
            ceil_div(self._most(length), self.columns) for length in (self.keys, self.chunk)
        )
        if self.is_packed:
            self.packed = T.alloc_buffer((blocks * VECTORS, self.depth, self.lanes), "float32")
            self._pack_keys()
        self.scores = T.alloc_buffer((self.rows, chunk_blocks * self.columns), "float32")
        self._pack_values()
        rows = self.block * self.rows
        if self.runs:
            self.most, self.total = (T.alloc_buffer((rows,), "float32") for _ in range(2))
            self.sums = T.alloc_buffer((rows, self.padded_width), "float32")
        blocks = _whole(self.tiles, self.block)
        share = _whole(blocks, self.pieces)
        piece = tirx.floormod(group, self.pieces)
        with T.serial(0, share) as turn:
            place = piece * share + turn
            if self.pieces == 1 or (isinstance(share, int) and share * self.pieces == blocks):
                self._block(place * rows)
            else:
                with T.If(place < blocks), T.Then():
                    self._block(place * rows)

    # What is brought into another layout first.

    def _pack_keys(self) -> None:
        """Emit the transposition of all keys, a square of numbers at a time."""
        lanes, side = self.lanes, min(SQUARE, self.lanes)
        whole = self.depth // side * side
        blocks = _whole(self.keys, self.columns) * VECTORS
        with T.serial(0, blocks) as block:
            for half in range(0, lanes, side):
                places = [_last(block * lanes + half + lane, self.columns, self.keys) for lane in range(side)]

                def key(place: tirx.Expr, depth: tirx.Expr) -> list[tirx.Expr]:
                    return placed(self.form.orders[1], self.b, self.g, place, depth)

                if whole:
                    with T.serial(0, whole // side) as step:
                        square = transposed(
                            [load(self.key, key(place, step * side), side) for place in places]
                        )
                        for depth, column in enumerate(square):
                            store(self.packed, column, [block, step * side + depth, half])
                if whole < self.depth:
                    with T.serial(0, self.depth - whole) as rest:
                        for lane, place in enumerate(places):
                            T.buffer_store(
                                self.packed,
                                tirx.BufferLoad(self.key, key(place, whole + rest)),
                                [block, whole + rest, half + lane],
                            )

    def _pack_values(self) -> None:
        """Emit the copy of values into whole vectors, where they are none."""
        if self.width == self.padded_width:
            return
        copied = T.alloc_buffer((self._most(self.keys), self.padded_width), "float32")
        whole = self.width // self.lanes * self.lanes
        with T.serial(0, self.keys) as place:
            for first in range(0, whole, self.lanes):
                store(copied, load(self.value, self._value(place, first), self.lanes), [place, first])
            store(copied, number(0.0, self.lanes), [place, whole])
            with T.serial(0, self.width - whole) as rest:
                T.buffer_store(
                    copied,
                    tirx.BufferLoad(self.value, self._value(place, whole + rest)),
                    [place, whole + rest],
                )
        self.copied = copied

    def _value(self, place: tirx.Expr, depth: tirx.Expr | int) -> list[tirx.Expr]:
        return placed(self.form.orders[2], self.b, self.g, place, depth)

    def _most(self, extent: Extent) -> int:
        return extent if isinstance(extent, int) else self.greatest(extent)

    # Queries.

    def _block(self, first: tirx.Expr) -> None:
        """Emit all that becomes of the queries from ``first`` on."""
        if not self.runs:
            self._tile(first, 0, 0, self.keys)
            return
        for state, start in ((self.most, LOWEST), (self.total, 0.0)):
            with T.serial(0, self.block * self.rows) as row:
                T.buffer_store(state, number(start), [row])
        with (
            T.serial(0, self.block * self.rows) as row,
            T.serial(0, self.padded_width // self.lanes) as vector,
        ):
            store(self.sums, number(0.0, self.lanes), [row, vector * self.lanes])
        whole = self.keys // self.chunk
        with T.serial(0, whole) as chunk:
            self._tiles(first, chunk * self.chunk, self.chunk)
        _where_some(self.keys % self.chunk, lambda rest: self._tiles(first, whole * self.chunk, rest))
        self._finish(first)

    def _tiles(self, first: tirx.Expr, start: Extent, length: Extent) -> None:
        with T.serial(0, self.block) as tile:
            own = tile * self.rows
            with T.If(first + own < self.queries), T.Then():
                self._tile(first + own, own, start, length)

    def _tile(self, first: tirx.Expr, own: tirx.Expr | int, start: Extent, length: Extent) -> None:
        """Emit a tile of queries against ``length`` keys from ``start`` on; ``own`` is its place in the block."""
        places = [_last(first + row, self.rows, self.queries) for row in range(self.rows)]
        (self._write_scores if self.is_packed else self._write_scores_by_rows)(places, start, length)
        shares = [self._softmax(row, own, length) for row in range(self.rows)]
        self._values(first, own, start, length, shares)

    def _write_scores(self, places: Sequence[tirx.Expr], start: Extent, length: Extent) -> None:
        whole = length // self.columns
        with T.serial(0, whole) as column:
            self._tile_of_scores(places, start, column * self.columns, VECTORS, None)
        _where_some(length % self.columns, lambda rest: self._last_scores(places, start, whole, rest))

    def _write_scores_by_rows(self, places: Sequence[tirx.Expr], start: Extent, length: Extent) -> None:
        """Emit the scores of keys as they lie, a few at a time; -inf behind them, to the end of a vector."""
        side = min(SQUARE, self.lanes)
        with T.serial(0, _whole(length, self.lanes) * (self.lanes // side)) as block:
            first = block * side
            keys = [T.min(first + lane, length - 1) + start for lane in range(side)]
            for row, place in enumerate(places):
                sums = [self._sums(1, 1)[0] for _ in keys]
                with T.serial(0, self.depth // self.lanes) as step:
                    at = step * self.lanes
                    query = load(
                        self.query, placed(self.form.orders[0], self.b, self.h, place, at), self.lanes
                    )
                    for total, key in zip(sums, keys, strict=True):
                        other = load(
                            self.key, placed(self.form.orders[1], self.b, self.g, key, at), self.lanes
                        )
                        store(total, load(total, [0], self.lanes) + query * other, [0])
                scores = T.alloc_buffer((side,), "float32")
                store(scores, sums_of([load(total, [0], self.lanes) for total in sums]), [0])
                with T.serial(0, side) as lane:
                    score = self._stepped(scores[lane], place, T.min(first + lane, length - 1) + start, 1)
                    score = tirx.Select(first + lane < length, score, number(-math.inf))
                    T.buffer_store(self.scores, score, [row, first + lane])

    def _last_scores(self, places: Sequence[tirx.Expr], start: Extent, whole: Extent, rest: Extent) -> None:
        """Emit the scores of fewer keys than a tile has; what else is in its vectors can be no greatest score."""
        vectors = ceil_div(rest, self.lanes) if isinstance(rest, int) else VECTORS
        first = whole * self.columns
        self._tile_of_scores(places, start, first, vectors, rest)
        for row in range(self.rows):
            with T.serial(0, vectors * self.lanes - rest) as lane:
                T.buffer_store(self.scores, number(-math.inf), [row, first + rest + lane])

    def _tile_of_scores(
        self,
        places: Sequence[tirx.Expr],
        start: Extent,
        column: Extent,
        vectors: int,
        count: Extent | None,
    ) -> None:
        """Emit scores of vectors of keys from ``start + column`` on; one by one where only ``count`` are keys."""
        lanes = self.lanes
        sums = self._sums(self.rows, vectors)
        block = tirx.floordiv(start + column, lanes)
        with T.serial(0, self.depth) as depth:
            keys = [load(self.packed, [block + vector, depth, 0], lanes) for vector in range(vectors)]
            for row, place in enumerate(places):
                query = tirx.BufferLoad(self.query, placed(self.form.orders[0], self.b, self.h, place, depth))
                self._add_products(sums[row], query, keys)
        for row, place in enumerate(places):
            if count is None:
                for vector in range(vectors):
                    own = column + vector * lanes
                    score = load(sums[row], [vector * lanes], lanes)
                    store(self.scores, self._stepped(score, place, start + own, lanes), [row, own])
            else:
                with T.serial(0, count) as lane:
                    score = self._stepped(sums[row][lane], place, start + column + lane, 1)
                    T.buffer_store(self.scores, score, [row, column + lane])

    def _sums(self, rows: int, vectors: int) -> list[tirx.Buffer]:
        """Emit sums of 0: a buffer for each row, small enough for registers."""
        sums = [T.alloc_buffer((vectors * self.lanes,), "float32") for _ in range(rows)]
        for buffer in sums:
            for vector in range(vectors):
                store(buffer, number(0.0, self.lanes), [vector * self.lanes])
        return sums

    def _add_products(self, sums: tirx.Buffer, factor: tirx.Expr, vectors: Sequence[tirx.Expr]) -> None:
        for place, vector in enumerate(vectors):
            own = [place * self.lanes]
            store(sums, load(sums, own, self.lanes) + tirx.Broadcast(factor, self.lanes) * vector, own)

    def _stepped(self, score: tirx.Expr, query: tirx.Expr, key: tirx.Expr, lanes: int) -> tirx.Expr:
        def operand(which: int) -> tirx.Expr:
            buffer = self.operands[which]
            index = [
                0 if is_one(extent) else place
                for place, extent in zip((self.b, self.h, query, key), buffer.shape, strict=True)
            ]
            if lanes == 1:
                return tirx.BufferLoad(buffer, index)
            if is_one(buffer.shape[-1]):
                return tirx.Broadcast(tirx.BufferLoad(buffer, index), lanes)
            return load(buffer, index, lanes)

        return self.form.stepped(score, operand)

    def _softmax(self, row: int, own: tirx.Expr | int, length: Extent) -> tirx.Buffer:
        """Emit the powers of a row's scores in their place; return what its sums are to be multiplied by."""
        lanes = self.lanes
        vectors = _whole(length, lanes)
        most = self._over_lanes(
            lambda vector: load(self.scores, [row, vector * lanes], lanes), vectors, -math.inf, T.max
        )
        factor = T.alloc_buffer((1,), "float32")
        if self.runs:
            before = T.alloc_buffer((1,), "float32")
            T.buffer_store(before, self.most[own + row], [0])
            T.buffer_store(most, T.max(most[0], before[0]), [0])
            T.buffer_store(self.most, most[0], [own + row])
            T.buffer_store(factor, exponential(T.max(number(LEAST), before[0] - most[0])), [0])

        def power(vector: tirx.Var) -> tirx.Expr:
            place = [row, vector * lanes]
            distance = load(self.scores, place, lanes) - tirx.Broadcast(most[0], lanes)
            power = T.alloc_buffer((lanes,), "float32")
            store(power, exponential(T.max(number(LEAST, lanes), distance)), [0])
            store(self.scores, load(power, [0], lanes), place)
            return load(power, [0], lanes)

        total = self._over_lanes(power, vectors, 0.0, lambda x, y: x + y)
        if self.runs:
            T.buffer_store(self.total, self.total[own + row] * factor[0] + total[0], [own + row])
        else:
            T.buffer_store(factor, number(1.0) / total[0], [0])
        return factor

    def _over_lanes(
        self,
        value: Callable[[tirx.Var], tirx.Expr],
        vectors: Extent,
        start: float,
        combine: Callable[[tirx.Expr, tirx.Expr], tirx.Expr],
    ) -> tirx.Buffer:
        """Emit the combination of all lanes of so many vectors: each lane its own part first."""
        parts, whole = T.alloc_buffer((self.lanes,), "float32"), T.alloc_buffer((1,), "float32")
        store(parts, number(start, self.lanes), [0])
        with T.serial(0, vectors) as vector:
            store(parts, combine(load(parts, [0], self.lanes), value(vector)), [0])
        T.buffer_store(whole, parts[0], [0])
        for lane in range(1, self.lanes):
            T.buffer_store(whole, combine(whole[0], parts[lane]), [0])
        return whole

    def _values(
        self,
        first: tirx.Expr,
        own: tirx.Expr | int,
        start: Extent,
        length: Extent,
        factors: Sequence[tirx.Buffer],
    ) -> None:
        """Emit the sums of values: all of them, written; or of a chunk, added to those before times ``factors``."""
        vectors, together = self.padded_width // self.lanes, self.together
        with T.serial(0, vectors // together) as group:
            column = group * (together * self.lanes)
            sums = self._sums(self.rows, together)
            with T.serial(0, length) as place:
                values = [
                    self._load_values(start + place, column + vector * self.lanes)
                    for vector in range(together)
                ]
                for row in range(self.rows):
                    self._add_products(sums[row], self.scores[row, place], values)
            for row in range(self.rows):
                for vector in range(together):
                    at = column + vector * self.lanes
                    value = load(sums[row], [vector * self.lanes], self.lanes)
                    if self.runs:
                        place, factor = [own + row, at], tirx.Broadcast(factors[row][0], self.lanes)
                        store(self.sums, load(self.sums, place, self.lanes) * factor + value, place)
                    else:
                        store(sums[row], self._mean(value, factors[row][0]), [vector * self.lanes])
            if not self.runs:
                for row in range(self.rows):
                    self._write(first + row, column, together, sums[row], [0])

    def _load_values(self, place: tirx.Expr, column: tirx.Expr) -> tirx.Expr:
        if self.width == self.padded_width:
            return load(self.value, self._value(place, column), self.lanes)
        return load(self.copied, [place, column], self.lanes)

    def _finish(self, first: tirx.Expr) -> None:
        """Emit the results of a block whose sums are complete."""
        with T.serial(0, self.block * self.rows) as row:
            share = T.alloc_buffer((1,), "float32")
            # No score at all above the lowest: the softmax of such a row is no number.
            is_any = self.most[row] > number(LOWEST)
            T.buffer_store(share, tirx.Select(is_any, number(1.0) / self.total[row], number(math.nan)), [0])
            with T.serial(0, self.padded_width // self.lanes) as vector:
                column = vector * self.lanes
                scaled = T.alloc_buffer((self.lanes,), "float32")
                store(scaled, self._mean(load(self.sums, [row, column], self.lanes), share[0]), [0])
                self._write(first + row, column, 1, scaled, [0])

    def _mean(self, sums: tirx.Expr, share: tirx.Expr) -> tirx.Expr:
        """Return a vector of sums times a share, which is no number where the softmax is none."""
        mean = sums * tirx.Broadcast(share, self.lanes)
        if not self.form.zeros:
            return mean
        zeros = number(0.0, self.lanes)
        return tirx.Select(tirx.Broadcast(share, self.lanes) > zeros, mean, zeros)

    def _write(
        self, place: tirx.Expr, column: tirx.Expr, vectors: int, source: tirx.Buffer, start: list[int]
    ) -> None:
        """Emit the writing of vectors of a query's result, where there are such a query and such columns."""

        def result(at: tirx.Expr) -> list[tirx.Expr]:
            return placed(self.form.orders[3], self.b, self.h, place, at)

        def write() -> None:
            for vector in range(vectors):
                at = column + vector * self.lanes
                own = start[0] + vector * self.lanes
                if self.width == self.padded_width:
                    lanes = T.vectorized(0, self.lanes)
                else:
                    lanes = T.serial(0, T.min(self.lanes, self.width - at))
                with lanes as lane:
                    value = self.form.rounded(source[own + lane], self.converts_by)
                    T.buffer_store(self.result, value, result(at + lane))

        if isinstance(self.queries, int) and self.queries % self.rows == 0:
            write()
        else:
            with T.If(place < self.queries), T.Then():
                write()


def _fixed(extent: tirx.Expr) -> Extent:
    """Return the extent as a number where it is constant."""
    return int(extent) if isinstance(extent, tirx.IntImm) else extent


def _whole(extent: Extent, size: int) -> Extent:
    """Return how many parts of that size cover the extent."""
    return ceil_div(extent, size) if isinstance(extent, int) else tirx.floordiv(extent + (size - 1), size)


def _last(place: tirx.Expr, size: int, extent: Extent) -> tirx.Expr:
    """Return a place in parts of that size which cover the extent: the last one for what is beyond it."""
    if not isinstance(extent, int):
        return T.min(place, extent - 1)
    return T.min(place, tirx.IntImm(place.ty, extent - 1)) if extent % size else place


def _where_some(rest: Extent, emit: Callable[[Extent], None]) -> None:
    """Emit what is to be done where ``rest`` is not 0."""
    if not isinstance(rest, int):
        with T.If(rest > 0), T.Then():
            emit(rest)
    elif rest:
        emit(rest)


def _pieces(heads: int, blocks: int, threads: int) -> int:
    """Return into how many pieces the queries of a head are cut, so that all threads have as much to do."""

    def is_even(pieces: int) -> bool:
        return heads * pieces % threads == 0 or heads * pieces >= 4 * threads

    return next((pieces for pieces in range(1, blocks + 1) if is_even(pieces)), blocks)
