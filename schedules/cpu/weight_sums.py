"""Kernel of the gradient of a convolution's or a product's weights: long sums of outer products.

    dw[m, n] = sum over places r of a[r, m] b[r, n]

Of the two tensors, the data and the gradient by the result, one is ``a``, whose numbers go to all lanes of a register,
and the other ``b``, whose channels are the lanes; both are read as they lie. A register tile has a few m by a few
vectors of n. Places come in chunks of which a tile's share stays in the first-level cache, so a tile is brought from
memory and back once a chunk:

    for each chunk of places:  for each tap:  for each tile of n:  for each tile of m:
        tile += sum over the chunk's places

Of a convolution the sums are those of each tap, whose ``x`` lies a few rows and columns away; places where a tap sees
padding are left out. Threads have places of their own, and sums of their own which are added up at the end in order;
or, where there are few places, tiles of their own.

A tile reads a few numbers of every place, which no prefetcher of the processor foresees, so tiles fetch the next chunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ...passes.hub.packing import ceil_div
from ...passes.realize.compute.contraction import Conv2d
from ...passes.realize.compute.vectors import broadcast, fetch, load, number, store
from ...passes.train.kernels.weight_sums import CONV2D, PRODUCT
from ...targets.row import TargetRow
from ..blocks import size_of
from .taps import Places, conv2d_of
from .weight_plan import Plan


def weight_sums_kernel(func: tirx.PrimFunc, row: TargetRow, threads: int) -> tirx.PrimFunc | None:
    """Return the function as this kernel; None where it computes something else."""
    form, is_product = conv2d_of(func, CONV2D), False
    if form is None:
        form, is_product = conv2d_of(func, PRODUCT), True
    if form is None or row.is_sample:
        return None
    made = _Kernel(form, is_product, list(func.params), row, threads).emit()
    return made.with_attrs({**dict(func.attrs or {}), "tirx.is_scheduled": True})


@dataclass(frozen=True)
class _Side:
    """One of the two tensors, flat: channels of a place, and of one of its groups."""

    buffer: tirx.Buffer
    channels: int
    group: int

    def base(self, place: tirx.Expr, group: tirx.Expr) -> tirx.Expr:
        return place * self.channels + group * self.group


@dataclass(frozen=True)
class _Chunk:
    """Some of the sums over some of the places: those of a slice, of a tap and group, and rows from start to stop."""

    at: tirx.Expr
    plane: tirx.Expr
    is_first: tirx.Expr
    start: tirx.Expr
    stop: tirx.Expr


@dataclass(frozen=True)
class _Columns:
    """The vectors of a tile, and the columns that they begin at."""

    vectors: Sequence[tirx.Expr | int]
    first: Sequence[tirx.Expr | int]


class _Kernel:
    """Emits the function."""

    def __init__(
        self, form: Conv2d, is_product: bool, buffers: list[tirx.Buffer], row: TargetRow, threads: int
    ) -> None:
        self.form, self.is_product, self.buffers = form, is_product, buffers
        self.places = Places.of(form, *buffers[:2])
        inner, outer = (int(buffer.shape[-1]) // form.groups for buffer in buffers[:2])
        self.sizes = inner, outer
        self.taps = form.kernel[0] * form.kernel[1]
        # The result's rows are the data's channels in a product, and the gradient's in a convolution.
        self.plan = Plan.of(self.places, self.sizes, is_product, row, threads)
        self.in_order = self.plan.by_data == is_product
        self.loop = T.parallel if threads > 1 else T.serial

    def emit(self) -> tirx.PrimFunc:
        plan, groups = self.plan, self.form.groups
        with IRBuilder() as builder, T.prim_func(s_tir=True):
            args = [
                T.arg(f"arg{place}", T.buffer(buffer.shape, "float32"))
                for place, buffer in enumerate(self.buffers)
            ]
            with T.sblock("root"):
                T.reads()
                T.writes()
                *flat, result = (
                    T.decl_buffer((size_of(buffer.shape),), "float32", data=buffer.data) for buffer in args
                )
                sides = [
                    _Side(buffer, size * groups, size) for buffer, size in zip(flat, self.sizes, strict=True)
                ]
                self.a, self.b = sides if plan.by_data else sides[::-1]
                shape = (plan.slices, self.taps * groups, plan.extent, plan.vectors.stored)
                is_result = self.in_order and self.taps == 1 and math.prod(shape) == size_of(result.shape)
                if is_result:
                    self.sums = T.decl_buffer(shape, "float32", data=result.data)
                else:
                    self.sums = T.alloc_buffer(shape, "float32")
                with self.loop(0, plan.slices * plan.parts) as piece:
                    self._piece(tirx.floordiv(piece, plan.parts), tirx.floormod(piece, plan.parts))
                if not is_result:
                    self._finish(result)
        return builder.get()

    def _piece(self, at: tirx.Expr, part: tirx.Expr) -> None:
        """Emit what one thread does: all sums of a slice of the places, or a part of the sums of all."""
        plan, planes = self.plan, self.taps * self.form.groups
        tiles = plan.extent // plan.tile.rows
        by_planes = planes % plan.parts == 0 or planes >= 4 * plan.parts
        own_planes = ceil_div(planes, plan.parts) if by_planes else planes
        own_tiles = tiles if by_planes else ceil_div(tiles, plan.parts)
        first = 0 if by_planes else part * own_tiles
        count = tiles if by_planes else T.max(0, T.min(own_tiles, tiles - first))
        has_rest = by_planes or part == plan.parts - 1
        if plan.copies:
            self.copy = T.alloc_buffer((plan.chunk, plan.tile.together * plan.vectors.lanes), "float32")
        with T.serial(0, plan.chunks) as chunk:
            start = (at * plan.chunks + chunk) * plan.chunk
            stop = T.min(start + plan.chunk, plan.rows)
            with T.serial(0, own_planes) as own:
                plane = part * own_planes + own if by_planes else own
                places = _Chunk(at, plane, chunk == 0, start, stop)
                if by_planes and planes % plan.parts:
                    with T.If(plane < planes), T.Then():
                        self._plane(places, first, count, has_rest)
                else:
                    self._plane(places, first, count, has_rest)

    def _plane(
        self, chunk: _Chunk, first: tirx.Expr | int, count: tirx.Expr | int, has_rest: tirx.Expr | bool
    ) -> None:
        """Emit ``count`` tiles of rows, and the rows behind the last tile where it has them."""
        block = self.plan.block_tiles
        rest = self.plan.extent % self.plan.tile.rows
        if isinstance(count, int) and count <= block:
            self._block(chunk, first, count, rest)
            return
        with T.serial(0, tirx.floordiv(count + (block - 1), block)) as each:
            done = each * block
            self._block(chunk, first + done, T.min(block, count - done), 0)
        if rest and has_rest is True:
            self._block(chunk, first, 0, rest)
        elif rest:
            with T.If(has_rest), T.Then():
                self._block(chunk, first, 0, rest)

    def _block(self, chunk: _Chunk, first: tirx.Expr | int, count: tirx.Expr | int, rest: int) -> None:
        """Emit tiles of rows, and the ``rest`` behind the last, that share a pass over the columns."""
        plan, (whole, left) = self.plan, self.plan.vectors.groups(self.plan.tile.together)

        def all_columns(emit: Callable[[_Columns], None]) -> None:
            with T.serial(0, whole) as group:
                vectors = [group * plan.tile.together + each for each in range(plan.tile.together)]
                emit(_Columns(vectors, [vector * plan.vectors.lanes for vector in vectors]))
            if left:
                emit(_Columns(left, [plan.vectors.first_column(vector) for vector in left]))

        def all_rows(emit: Callable[[tirx.Expr, int], None]) -> None:
            if not isinstance(count, int) or count:
                with T.serial(0, count) as each:
                    emit((first + each) * plan.tile.rows, plan.tile.rows)
            if rest:
                emit(tirx.const(plan.extent - rest, "int32"), rest)

        def tiles(columns: _Columns) -> None:
            if plan.copies:
                self._copy(chunk, columns)
            all_rows(lambda row, rows: self._tile(chunk, row, rows, columns))

        if plan.by_rows:
            all_rows(lambda row, rows: all_columns(lambda columns: self._tile(chunk, row, rows, columns)))
        else:
            all_columns(tiles)

    def _copy(self, chunk: _Chunk, columns: _Columns) -> None:
        """Emit the copy of the columns of a chunk's places, one place behind the other."""
        lanes = self.plan.vectors.lanes
        with T.serial(0, chunk.stop - chunk.start) as each:
            base = self.b.base(chunk.start + each, chunk.plane)
            for place, column in enumerate(columns.first):
                store(self.copy, load(self.b.buffer, [base + column], lanes), [each, place * lanes])

    def _tile(self, chunk: _Chunk, first: tirx.Expr, rows: int, columns: _Columns) -> None:
        """Emit the sums of a register tile of ``rows`` from ``first`` on over a chunk."""
        lanes, count = self.plan.vectors.lanes, len(columns.vectors)
        sums = {
            (row, each): T.alloc_buffer((lanes,), "float32") for row in range(rows) for each in range(count)
        }
        in_memory = {
            (row, each): [chunk.at, chunk.plane, first + row, columns.vectors[each] * lanes]
            for row, each in sums
        }
        with T.If(chunk.is_first):
            with T.Then():
                for own in sums.values():
                    store(own, number(0.0, lanes), [0])
            with T.Else():
                for cell, own in sums.items():
                    store(own, load(self.sums, in_memory[cell], lanes), [0])

        def products(base_a: tirx.Expr, base_b: tirx.Expr, place: tirx.Expr) -> None:
            if self.plan.copies:
                factors = [load(self.copy, [place, each * lanes], lanes) for each in range(count)]
            else:
                factors = [load(self.b.buffer, [base_b + column], lanes) for column in columns.first]
            self._fetch_ahead(chunk, first, columns, place)
            for row in range(rows):
                value = broadcast(tirx.BufferLoad(self.a.buffer, [base_a + first + row]), lanes)
                for each, factor in enumerate(factors):
                    own = sums[row, each]
                    store(own, load(own, [0], lanes) + value * factor, [0])

        self._over_places(chunk, products)
        for cell, own in sums.items():
            store(self.sums, load(own, [0], lanes), in_memory[cell])

    def _fetch_ahead(self, chunk: _Chunk, first: tirx.Expr, columns: _Columns, place: tirx.Expr) -> None:
        """Emit the fetching of a piece of the next chunk, so that all tiles together fetch all of it, in order."""
        plan = self.plan
        if not self.places.are_same:
            return
        of_rows = ceil_div(plan.extent, plan.tile.rows)
        tiles = of_rows * ceil_div(plan.vectors.count, plan.tile.together)
        own = tirx.floordiv(columns.vectors[0], plan.tile.together) * of_rows + tirx.floordiv(
            first, plan.tile.rows
        )
        for side in (self.a, self.b):
            # Of more tiles than channels all data have come before most of them begin.
            if step := side.group // tiles:
                start = side.base(chunk.start + plan.chunk, chunk.plane)
                fetch(side.buffer, start + (own * plan.chunk + place) * step)

    def _over_places(self, chunk: _Chunk, emit: Callable[[tirx.Expr, tirx.Expr, tirx.Expr], None]) -> None:
        """Emit loops over the places of a chunk at which a tap sees the data.

        ``emit`` is given where their groups of channels begin in ``a`` and ``b``, and the row's number in the chunk.
        """
        tap, group = (operator(chunk.plane, self.form.groups) for operator in (tirx.floordiv, tirx.floormod))
        tap_h, tap_w = (operator(tap, self.form.kernel[1]) for operator in (tirx.floordiv, tirx.floormod))

        with T.serial(0, chunk.stop - chunk.start) as row:

            def at(of_data: tirx.Expr, of_result: tirx.Expr) -> None:
                of_a, of_b = (of_data, of_result) if self.plan.by_data else (of_result, of_data)
                emit(self.a.base(of_a, group), self.b.base(of_b, group), row)

            def along(of_data: tirx.Expr, of_result: tirx.Expr) -> None:
                first = self.places.first_column(tap_w)
                with T.serial(0, self.places.end_column(tap_w) - first) as each:
                    column = first + each
                    seen = column * self.form.strides[1] + self.places.shift(tap_w)
                    at(of_data + seen, of_result + column)

            if self.places.are_same:
                at(chunk.start + row, chunk.start + row)
            else:
                self.places.in_row(chunk.start + row, tap_h, along)

    def _finish(self, result: tirx.Buffer) -> None:
        """Emit the sums over slices, in the order of the result."""
        groups, (inner, outer) = self.form.groups, self.sizes
        first, second = (inner, outer) if self.is_product else (outer, inner)
        with self.loop(0, groups * first) as each, T.serial(0, second) as other:
            group, along = tirx.floordiv(each, first), tirx.floormod(each, first)
            row, column = (along, other) if self.in_order else (other, along)
            for tap in range(self.taps):
                index = [tap * groups + group, row, self.plan.vectors.place_of(column)]
                total = tirx.BufferLoad(self.sums, [0, *index])
                for at in range(1, self.plan.slices):
                    total = total + tirx.BufferLoad(self.sums, [at, *index])
                T.buffer_store(result, total, [(each * second + other) * self.taps + tap])
