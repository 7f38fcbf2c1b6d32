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

A vector at the end of n begins earlier, where it does not pass the end, and repeats a few lanes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlock
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ...passes.hub.packing import ceil_div
from ...passes.realize.compute.annotations import KERNEL, WINDOWS
from ...passes.realize.compute.contraction import Conv2d
from ...passes.realize.compute.vectors import broadcast, load, number, store
from ...passes.train.kernels.weight_sums import CONV2D, PRODUCT
from ...targets.row import TargetRow
from .outer_tiles import Tile, tile_of

PLACES_A_THREAD = 512
"""From so many on threads have places of their own: adding up their sums then costs a few hundredths of the time."""

MOST_PLACES = 256
"""Of a chunk: a tile's share of them still fits the first-level cache."""


def weight_sums_kernel(func: tirx.PrimFunc, row: TargetRow, threads: int) -> tirx.PrimFunc | None:
    """Return the function as this kernel; None where it computes something else."""
    form = _form(func)
    if form is None or row.is_sample:
        return None
    made = _Kernel(form, list(func.params), row, threads).emit()
    return made.with_attrs({**dict(func.attrs or {}), "tirx.is_scheduled": True})


def _form(func: tirx.PrimFunc) -> Conv2d | None:
    """Return the convolution whose weights' gradient it is; a product is one of single pixels."""
    found: list[Conv2d] = []

    def note(block: SBlock) -> None:
        kind = str(block.annotations.get(KERNEL, ""))
        if kind == PRODUCT:
            found.append(Conv2d((1, 1), (0, 0, 0, 0), (1, 1), 1, (1, 1), 0))
        elif kind == CONV2D:
            fields = json.loads(str(block.annotations[WINDOWS]))
            found.append(Conv2d(**{name: _tuples(value) for name, value in fields.items()}))

    tvm_ffi.structural_walk(func.body, [(SBlock, note)])
    return found[0] if found else None


def _tuples(value):
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class _Side:
    """One of the two tensors, flat.

    Attributes
    ----------
    buffer : its elements.
    channels, group : of a place, and of one of its groups.
    is_data : whether taps see it.
    """

    buffer: tirx.Buffer
    channels: int
    group: int
    is_data: bool


class _Kernel:
    """Emits the function."""

    def __init__(self, form: Conv2d, buffers: list[tirx.Buffer], row: TargetRow, threads: int) -> None:
        self.form, self.buffers, self.threads = form, buffers, threads
        shapes = [[int(extent) for extent in buffer.shape] for buffer in buffers]
        self.is_product = len(shapes[0]) == 2
        if self.is_product:
            shapes[:2] = [[1, 1, *shape] for shape in shapes[:2]]
        (self.batch, self.height, self.width, inner), (_, self.out_h, self.out_w, outer) = shapes[:2]
        self.result_shape = shapes[2]
        self.sizes = inner // form.groups, outer // form.groups
        self.taps = form.kernel[0] * form.kernel[1]
        lanes = row.vector_bits // 32
        # By rows of data or of gradient: of a product the result is the data's channels by the gradient's.
        by_data, by_gradient = (
            tile_of(*sizes, lanes, row.vector_registers) for sizes in (self.sizes, self.sizes[::-1])
        )
        self.by_data = by_data.cycles < by_gradient.cycles or (
            self.is_product and by_data.cycles == by_gradient.cycles
        )
        self.tile: Tile = by_data if self.by_data else by_gradient
        self.is_flat = self.taps == 1 and form.strides == (1, 1) and not any(form.padding)
        places = self.batch * self.out_h * self.out_w
        # Rows of the result are counted by images and rows; a run of pixels is one row.
        self.rows, self.row_places = (places, 1) if self.is_flat else (self.batch * self.out_h, self.out_w)
        fitting = row.l2_bytes // 2 // (4 * (inner + outer))
        most = max(1, min(MOST_PLACES, fitting) // self.row_places)
        self.slices = threads if places >= PLACES_A_THREAD * threads else 1
        own = ceil_div(self.rows, self.slices)
        self.chunk = ceil_div(own, ceil_div(own, most))
        self.chunks = ceil_div(own, self.chunk)
        self.parts = 1 if self.slices > 1 else threads

    def emit(self) -> tirx.PrimFunc:
        tile, form = self.tile, self.form
        with IRBuilder() as builder, T.prim_func(s_tir=True):
            args = [
                T.arg(f"arg{place}", T.buffer(buffer.shape, "float32"))
                for place, buffer in enumerate(self.buffers)
            ]
            with T.sblock("root"):
                T.reads()
                T.writes()
                data, gradient, result = (
                    T.decl_buffer((_size(buffer),), "float32", data=buffer.data) for buffer in args
                )
                sides = [
                    _Side(buffer, size * form.groups, size, is_data)
                    for buffer, size, is_data in zip((data, gradient), self.sizes, (True, False), strict=True)
                ]
                self.a, self.b = sides if self.by_data else sides[::-1]
                self.sums = T.alloc_buffer(
                    (self.slices, self.taps * form.groups, tile.extent, tile.vectors * tile.lanes), "float32"
                )
                with (T.parallel if self.threads > 1 else T.serial)(0, self.slices * self.parts) as piece:
                    self._piece(tirx.floordiv(piece, self.parts), tirx.floormod(piece, self.parts))
                self._finish(result)
        return builder.get()

    def _piece(self, at: tirx.Expr, part: tirx.Expr) -> None:
        """Emit what one thread does: a slice of the places, or a part of the tiles."""
        planes = self.taps * self.form.groups
        by_planes = planes % self.parts == 0 or planes >= 4 * self.parts
        own_planes = ceil_div(planes, self.parts) if by_planes else planes
        whole = self.tile.extent // self.tile.rows
        own_tiles = whole if by_planes else ceil_div(whole, self.parts)
        first = T.int32(0) if by_planes else part * own_tiles
        count = whole if by_planes else T.min(own_tiles, whole - first)
        is_last = None if by_planes or self.parts == 1 else part == self.parts - 1
        with T.serial(0, self.chunks) as chunk:
            start = (at * self.chunks + chunk) * self.chunk
            stop = T.min(start + self.chunk, self.rows)
            with T.serial(0, own_planes) as own:
                plane = part * own_planes + own if by_planes else own
                if by_planes and planes % self.parts:
                    with T.If(plane < planes), T.Then():
                        self._plane(at, plane, chunk, start, stop, first, count, is_last)
                else:
                    self._plane(at, plane, chunk, start, stop, first, count, is_last)

    def _plane(self, at, plane, chunk, start, stop, first, count, is_last) -> None:
        """Emit the tiles of one tap of one group."""
        tile = self.tile
        whole = tile.vectors // tile.together if tile.is_whole else (tile.vectors - 1) // tile.together

        def columns(vectors: list[tirx.Expr | int], places: list[tirx.Expr | int]) -> None:
            def rows(row, rows_together) -> None:
                self._tile(at, plane, chunk, start, stop, row, rows_together, vectors, places)

            with T.serial(0, count) as each:
                rows((first + each) * tile.rows, tile.rows)
            rest = tile.extent % tile.rows
            if rest and is_last is not None:
                with T.If(is_last), T.Then():
                    rows(tile.extent - rest, rest)
            elif rest:
                rows(tile.extent - rest, rest)

        with T.serial(0, whole) as group:
            vectors = [group * tile.together + vector for vector in range(tile.together)]
            columns(vectors, [vector * tile.lanes for vector in vectors])
        left = list(range(whole * tile.together, tile.vectors))
        if left:
            columns(left, [min(vector * tile.lanes, tile.width - tile.lanes) for vector in left])

    def _tile(self, at, plane, chunk, start, stop, row, rows, vectors, places) -> None:
        """Emit the sums of a register tile over a chunk."""
        lanes = self.tile.lanes
        sums = [[T.alloc_buffer((lanes,), "float32") for _ in vectors] for _ in range(rows)]

        def own(each: int, vector: int) -> list[tirx.Expr]:
            return [at, plane, row + each, vectors[vector] * lanes]

        def each_sum(emit) -> None:
            for each in range(rows):
                for vector in range(len(vectors)):
                    emit(each, vector)

        with T.If(chunk == 0):
            with T.Then():
                each_sum(lambda each, vector: store(sums[each][vector], number(0.0, lanes), [0]))
            with T.Else():
                each_sum(
                    lambda each, vector: store(
                        sums[each][vector], load(self.sums, own(each, vector), lanes), [0]
                    )
                )
        tap, group = tirx.floordiv(plane, self.form.groups), tirx.floormod(plane, self.form.groups)

        def products(base_a: tirx.Expr, base_b: tirx.Expr) -> None:
            factors = [load(self.b.buffer, [base_b + place], lanes) for place in places]
            for each in range(rows):
                value = tirx.BufferLoad(self.a.buffer, [base_a + row + each])
                for vector, factor in enumerate(factors):
                    own_sum = sums[each][vector]
                    store(own_sum, load(own_sum, [0], lanes) + broadcast(value, lanes) * factor, [0])

        self._over_places(start, stop, tap, group, products)
        each_sum(lambda each, vector: store(self.sums, load(sums[each][vector], [0], lanes), own(each, vector)))

    def _over_places(self, start, stop, tap, group, emit) -> None:
        """Emit loops over the places of a chunk at which a tap sees the data."""

        def base(side: _Side, place: tirx.Expr) -> tirx.Expr:
            return place * side.channels + group * side.group

        if self.is_flat:
            with T.serial(0, stop - start) as each:
                emit(*(base(side, start + each) for side in (self.a, self.b)))
            return
        form = self.form
        (down, across), (top, left, _, _) = form.strides, form.padding
        tap_h, tap_w = tirx.floordiv(tap, form.kernel[1]), tirx.floormod(tap, form.kernel[1])
        shift_h, shift_w = tap_h * form.dilation[0] - top, tap_w * form.dilation[1] - left
        low = T.max(0, tirx.floordiv(across - 1 - shift_w, across))
        high = T.min(self.out_w, tirx.floordiv(self.width - 1 - shift_w, across) + 1)
        with T.serial(0, stop - start) as each:
            image, h = tirx.floordiv(start + each, self.out_h), tirx.floormod(start + each, self.out_h)
            seen = h * down + shift_h
            with T.If(tirx.all(seen >= 0, seen < self.height)), T.Then(), T.serial(0, high - low) as column:
                places = {
                    True: (image * self.height + seen) * self.width + (low + column) * across + shift_w,
                    False: (start + each) * self.out_w + low + column,
                }
                emit(*(base(side, places[side.is_data]) for side in (self.a, self.b)))

    def _finish(self, result: tirx.Buffer) -> None:
        """Emit the sum over slices, in the order of the result."""
        tile, form = self.tile, self.form
        inner, outer = self.sizes

        def total(plane, row, column) -> tirx.Expr:
            # The last vector begins earlier than its place among the vectors.
            shift = tile.vectors * tile.lanes - tile.width
            place = column
            if shift:
                place = column + tirx.Select(
                    column >= (tile.vectors - 1) * tile.lanes, T.int32(shift), T.int32(0)
                )
            value = tirx.BufferLoad(self.sums, [0, plane, row, place])
            for at in range(1, self.slices):
                value = value + tirx.BufferLoad(self.sums, [at, plane, row, place])
            return value

        first, second = (inner, outer) if self.is_product else (outer, inner)
        own_rows = self.by_data == self.is_product
        parallel = T.parallel if self.threads > 1 else T.serial
        with parallel(0, form.groups * first) as each, T.serial(0, second) as other:
            group, along = tirx.floordiv(each, first), tirx.floormod(each, first)
            row, column = (along, other) if own_rows else (other, along)
            for tap in range(self.taps):
                place = (each * second + other) * self.taps + tap
                T.buffer_store(result, total(tap * form.groups + group, row, column), [place])


def _size(buffer: tirx.Buffer) -> int:
    size = 1
    for extent in buffer.shape:
        size *= int(extent)
    return size
