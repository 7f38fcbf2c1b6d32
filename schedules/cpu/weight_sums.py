"""Kernel of the gradient of a convolution's or a product's weights: long sums of outer products.

    dw[m, n] = sum over places r of a[r, m] b[r, n]

Of the two tensors, the data and the gradient by the result, one is ``a``, whose numbers go to all lanes of a register,
and the other ``b``, whose channels are the lanes; both are read as they lie. A register tile has a few m by a few
vectors of n. Places come in chunks of which all channels stay in the second-level cache, and those that a tile reads
near the first, so a tile is brought from memory and back once a chunk:

    for each chunk of places:  for each tap:  for each tile of n:  for each tile of m:
        tile += sum over the chunk's places

Of a convolution the sums are those of each tap, whose ``x`` lies a few rows and columns away; places where a tap sees
padding are left out. Threads have places of their own, and sums of their own which are added up at the end in order; or,
where there are few places, tiles of their own.
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
from ...passes.realize.compute.vectors import broadcast, load, number, store
from ...passes.train.kernels.weight_sums import CONV2D, PRODUCT
from ...targets.row import TargetRow
from ..blocks import size_of
from .outer_tiles import Vectors, tile_of
from .taps import Places, conv2d_of

PLACES_A_THREAD = 512
"""From so many on threads have places of their own: adding up their sums then costs a few hundredths of the time."""

MOST_PLACES = 160
"""Of a chunk: what a tile reads of them still fits the first-level cache."""

COPYING_TILES = 8
"""From so many tiles on that read the same columns, these are copied first, one place behind the other."""


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
class _Sums:
    """Which sums a tile has: of one thread's slice, tap and group, of these rows and vectors, at these columns."""

    at: tirx.Expr
    plane: tirx.Expr
    row: tirx.Expr | int
    rows: int
    vectors: Sequence[tirx.Expr | int]
    columns: Sequence[tirx.Expr | int]


class _Kernel:
    """Emits the function."""

    def __init__(
        self, form: Conv2d, is_product: bool, buffers: list[tirx.Buffer], row: TargetRow, threads: int
    ) -> None:
        self.form, self.is_product, self.buffers, self.threads = form, is_product, buffers, threads
        data, gradient = (
            (1,) * (4 - len(buffer.shape)) + tuple(int(extent) for extent in buffer.shape)
            for buffer in buffers[:2]
        )
        self.places = Places(form, data[:3], gradient[:3])
        self.sizes = data[3] // form.groups, gradient[3] // form.groups
        self.taps, lanes = form.kernel[0] * form.kernel[1], row.vector_bits // 32

        cuts = [(Vectors.of(width, lanes), extent) for extent, width in (self.sizes, self.sizes[::-1])]
        by_data, by_gradient = (
            tile_of(extent, vectors.count, row.vector_registers) for vectors, extent in cuts
        )
        # Rows are channels of the data, or of the gradient; where it makes no difference, as they are in the result.
        difference = by_data.cycles - by_gradient.cycles
        self.by_data = difference < 0 or (is_product and difference == 0)
        self.vectors, self.extent = cuts[0 if self.by_data else 1]
        self.tile = by_data if self.by_data else by_gradient

        batch, out_h, out_w = gradient[:3]
        self.rows, row_places = (batch * out_h * out_w, 1) if self.places.are_same else (batch * out_h, out_w)
        most = max(1, MOST_PLACES // row_places)
        self.slices = threads if self.rows * row_places >= PLACES_A_THREAD * threads else 1
        own = ceil_div(self.rows, self.slices)
        self.chunks = ceil_div(own, most)
        self.chunk = ceil_div(own, self.chunks)
        self.parts = 1 if self.slices > 1 else threads
        # Rows of a block stay in the second-level cache from one tile of columns to the next.
        a_tile = 4 * self.tile.rows * self.chunk * row_places
        self.block_tiles = max(1, row.l2_bytes // 2 // a_tile)
        self.copies = self.places.are_same and self.extent >= COPYING_TILES * self.tile.rows
        self.in_order = self.by_data == is_product

    def emit(self) -> tirx.PrimFunc:
        groups = self.form.groups
        loop = T.parallel if self.threads > 1 else T.serial
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
                self.a, self.b = sides if self.by_data else sides[::-1]
                shape = (self.slices, self.taps * groups, self.extent, self.vectors.stored)
                is_result = (
                    self.in_order and self.taps == 1 and math.prod(shape) == size_of(self.buffers[2].shape)
                )
                self.sums = (
                    T.decl_buffer(shape, "float32", data=result.data)
                    if is_result
                    else T.alloc_buffer(shape, "float32")
                )
                with loop(0, self.slices * self.parts) as piece:
                    self._piece(tirx.floordiv(piece, self.parts), tirx.floormod(piece, self.parts))
                if not is_result:
                    self._finish(result, loop)
        return builder.get()

    def _piece(self, at: tirx.Expr, part: tirx.Expr) -> None:
        """Emit what one thread does: all sums of a slice of the places, or a part of the sums of all."""
        planes, tiles = self.taps * self.form.groups, self.extent // self.tile.rows
        by_planes = planes % self.parts == 0 or planes >= 4 * self.parts
        own_planes = ceil_div(planes, self.parts) if by_planes else planes
        own_tiles = tiles if by_planes else ceil_div(tiles, self.parts)
        first = 0 if by_planes else part * own_tiles
        count = tiles if by_planes else T.max(0, T.min(own_tiles, tiles - first))
        has_rest = by_planes or self.parts == 1 or part == self.parts - 1
        if self.copies:
            self.copy = T.alloc_buffer((self.chunk, self.tile.together * self.vectors.lanes), "float32")
        with T.serial(0, self.chunks) as chunk:
            start = (at * self.chunks + chunk) * self.chunk
            places = chunk, start, T.min(start + self.chunk, self.rows)
            with T.serial(0, own_planes) as own:
                plane = part * own_planes + own if by_planes else own
                if by_planes and planes % self.parts:
                    with T.If(plane < planes), T.Then():
                        self._plane(at, plane, places, first, count, has_rest)
                else:
                    self._plane(at, plane, places, first, count, has_rest)

    def _plane(self, at, plane, places, first, count, has_rest) -> None:
        """Emit ``count`` tiles of rows of one tap of one group, and the rows behind the last tile where it has them."""
        block = self.block_tiles
        if isinstance(count, int) and count <= block:
            self._block(at, plane, places, first, count, has_rest)
            return
        with T.serial(0, tirx.floordiv(count + (block - 1), block)) as each:
            done = each * block
            self._block(at, plane, places, first + done, T.min(block, count - done), False)
        self._block(at, plane, places, first, 0, has_rest)

    def _block(self, at, plane, places, first, count, has_rest) -> None:
        """Emit tiles of rows that share a pass over the columns."""
        together, lanes, rest = self.tile.together, self.vectors.lanes, self.extent % self.tile.rows
        has_tiles, has_rest = not (isinstance(count, int) and count == 0), has_rest if rest else False

        def tiles(vectors: Sequence[tirx.Expr | int], columns: Sequence[tirx.Expr | int]) -> None:
            if self.copies:
                self._copy(plane, places, columns)
            if has_tiles:
                with T.serial(0, count) as each:
                    row = (first + each) * self.tile.rows
                    self._tile(_Sums(at, plane, row, self.tile.rows, vectors, columns), *places)
            if has_rest is not False:
                self._tile(_Sums(at, plane, self.extent - rest, rest, vectors, columns), *places)

        def all_columns() -> None:
            whole, left = self.vectors.groups(together)
            with T.serial(0, whole) as group:
                vectors = [group * together + vector for vector in range(together)]
                tiles(vectors, [vector * lanes for vector in vectors])
            if left:
                tiles(left, [self.vectors.first_column(vector) for vector in left])

        if has_tiles or has_rest is True:
            all_columns()
        elif has_rest is not False:
            with T.If(has_rest), T.Then():
                all_columns()

    def _copy(self, group, places, columns) -> None:
        """Emit the copy of the columns of a chunk's places, one place behind the other."""
        lanes, (_, start, stop) = self.vectors.lanes, places
        with T.serial(0, stop - start) as each:
            base = self.b.base(start + each, group)
            for vector, column in enumerate(columns):
                store(self.copy, load(self.b.buffer, [base + column], lanes), [each, vector * lanes])

    def _tile(self, tile: _Sums, chunk: tirx.Expr, start: tirx.Expr, stop: tirx.Expr) -> None:
        """Emit the sums of a register tile over a chunk."""
        lanes, cells = (
            self.vectors.lanes,
            [(row, each) for row in range(tile.rows) for each in range(len(tile.vectors))],
        )
        sums = {cell: T.alloc_buffer((lanes,), "float32") for cell in cells}

        def in_memory(row: int, each: int) -> list[tirx.Expr]:
            return [tile.at, tile.plane, tile.row + row, tile.vectors[each] * lanes]

        with T.If(chunk == 0):
            with T.Then():
                for cell in cells:
                    store(sums[cell], number(0.0, lanes), [0])
            with T.Else():
                for cell in cells:
                    store(sums[cell], load(self.sums, in_memory(*cell), lanes), [0])

        def products(base_a: tirx.Expr, base_b: tirx.Expr, place: tirx.Expr) -> None:
            if self.copies:
                factors = [
                    load(self.copy, [place, vector * lanes], lanes) for vector in range(len(tile.columns))
                ]
            else:
                factors = [load(self.b.buffer, [base_b + column], lanes) for column in tile.columns]
            for row in range(tile.rows):
                value = broadcast(tirx.BufferLoad(self.a.buffer, [base_a + tile.row + row]), lanes)
                for each, factor in enumerate(factors):
                    store(sums[row, each], load(sums[row, each], [0], lanes) + value * factor, [0])

        self._over_places(start, stop, tile.plane, products)
        for cell in cells:
            store(self.sums, load(sums[cell], [0], lanes), in_memory(*cell))

    def _over_places(self, start, stop, plane, emit: Callable[[tirx.Expr, tirx.Expr], None]) -> None:
        """Emit loops over the places of a chunk at which a tap sees the data."""
        tap, group = (operator(plane, self.form.groups) for operator in (tirx.floordiv, tirx.floormod))
        tap_h, tap_w = (operator(tap, self.form.kernel[1]) for operator in (tirx.floordiv, tirx.floormod))

        def at(of_data: tirx.Expr, of_result: tirx.Expr, row: tirx.Expr) -> None:
            places = (of_data, of_result) if self.by_data else (of_result, of_data)
            emit(
                *(side.base(place, group) for side, place in zip((self.a, self.b), places, strict=True)), row
            )

        def along(of_data: tirx.Expr, of_result: tirx.Expr) -> None:
            first = self.places.first_column(tap_w)
            with T.serial(0, self.places.end_column(tap_w) - first) as each:
                column = first + each
                at(
                    of_data + column * self.form.strides[1] + self.places.shift(tap_w),
                    of_result + column,
                    row,
                )

        with T.serial(0, stop - start) as row:
            if self.places.are_same:
                at(start + row, start + row, row)
            else:
                self.places.in_row(start + row, tap_h, along)

    def _finish(self, result: tirx.Buffer, loop: Callable) -> None:
        """Emit the sums over slices, in the order of the result."""
        groups, (inner, outer) = self.form.groups, self.sizes
        first, second = (inner, outer) if self.is_product else (outer, inner)
        with loop(0, groups * first) as each, T.serial(0, second) as other:
            group, along = tirx.floordiv(each, first), tirx.floormod(each, first)
            row, column = (along, other) if self.in_order else (other, along)
            for tap in range(self.taps):
                index = [tap * groups + group, row, self.vectors.place_of(column)]
                total = tirx.BufferLoad(self.sums, [0, *index])
                for at in range(1, self.slices):
                    total = total + tirx.BufferLoad(self.sums, [at, *index])
                T.buffer_store(result, total, [(each * second + other) * self.taps + tap])
