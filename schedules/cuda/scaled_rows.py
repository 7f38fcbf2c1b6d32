"""Products of a few rows of floats with weights of few bits and scales: reading the weights takes all the time.

    warp: 16 bytes a lane of each of its columns, as floats: 8 + code / 2, some one instruction each
    sum of integer * scale * data  =  2 * sum over groups of scale * (sum of (8 + code / 2) * data  -  12 * sum of data)

Lanes read the data as they lie, from the first-level cache, once for all columns of a warp. Where columns are too few
for as many warps as hide the memory's latency, the warps of a block share the inner product of theirs. Infinite data
give NaN whatever the weight.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from math import gcd

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ...passes.hub.packing import TOGETHER, WORD
from ...targets.cuda.calls import device_call
from ...targets.row import Gpu
from ..blocks import item_bytes
from .few_rows import LEAST_DEPTH, MOST_COLUMNS, MOST_ROWS, WARPS
from .product import Product, count
from .product_kernel import write_result
from .threads import in_registers, over
from .vectors import VECTOR_BYTES, Lane, analyzer_of, loaded_ahead, under
from .warps import WARP, combine_lanes

ENOUGH_WARPS = 12
"""Of a multiprocessor: what half of them wait for, 2 KiB each, covers the memory's latency."""

TEAMS = (1, 2, 4)
"""Warps that may share an inner product."""

_ZERO = tirx.const(0.0, "float32")


def fits(product: Product) -> bool:
    """Tell whether a product has few rows and scaled weights."""
    return (
        product.scaled is not None
        and count(product.batch) == 1
        and count(product.rows) <= MOST_ROWS
        and product.sums.length >= LEAST_DEPTH
    )


def emit(product: Product, gpu: Gpu) -> None:
    """Emit the launch of the kernel."""
    columns = count(product.columns)
    together = gcd(columns, MOST_COLUMNS)
    warps = columns // together
    turns = -(-product.scaled.pieces // WARP)
    teams = [team for team in TEAMS if team <= turns]
    enough = [team for team in teams if warps * team >= ENOUGH_WARPS * gpu.multiprocessors]
    team = min(enough, default=teams[-1])
    a_block = team if team > 1 else WARPS
    blocks = -(-warps * team // a_block)
    with (
        T.launch_thread("blockIdx.x", blocks) as block,
        T.launch_thread("threadIdx.x", a_block * WARP) as thread,
    ):
        ranges = {block: blocks, thread: a_block * WARP}
        warp = tirx.floordiv(thread, WARP)
        number = block if team > 1 else block * WARPS + warp
        member = warp if team > 1 else tirx.const(0, "int32")
        own = _Columns(product, together, team, number, member, tirx.floormod(thread, WARP), ranges)
        # All lanes of a warp have the same number, so a warp works or rests as a whole.
        under([number < warps] if team == 1 and warps % WARPS else [], own.emit)


class _Columns:
    """Emits what a warp does: neighbouring columns of all rows, or a part of their inner product."""

    def __init__(
        self,
        product: Product,
        together: int,
        team: int,
        number: tirx.Expr,
        member: tirx.Expr,
        lane: tirx.Expr,
        ranges: Mapping[tirx.Var, int],
    ) -> None:
        self.product, self.scaled, self.together, self.team = product, product.scaled, together, team
        self.member, self.lane, self.ranges = member, lane, ranges
        self.first = number * together
        self.rows = count(product.rows)
        self.data = product.data_operand(tirx.const(0, "int32"), ranges)
        self.run = _run(product)
        """Runs of four of a word that share a scale; 0 where a column has one scale."""

    def emit(self) -> None:
        self.sums = self._zeros(self.rows * self.together)
        self.of_data = self._zeros(self.rows)
        turns = -(-self.scaled.pieces // (WARP * self.team))
        with T.serial(turns) as turn:
            piece = (turn * self.team + self.member) * WARP + self.lane
            whole = self.scaled.pieces % (WARP * self.team) == 0
            ranges = {**self.ranges, turn: turns}
            under([] if whole else [piece < self.scaled.pieces], lambda: self.products(piece, ranges))
        if not self.run:
            self._finish_groups(self.sums, self.of_data, None, self.sums)
        with T.unroll(self.rows * self.together) as number:
            combine_lanes(self.sums, number, operator.add)
        if self.team > 1:
            self._exchange()
        self.write()

    @staticmethod
    def _zeros(size: int) -> tirx.Buffer:
        numbers = T.alloc_buffer((size,), "float32", scope="local")
        with T.unroll(size) as number:
            T.buffer_store(numbers, _ZERO, [number])
        return numbers

    def products(self, piece: tirx.Expr, ranges: Mapping[tirx.Var, int]) -> None:
        """Emit the products of a word of each column with all rows."""
        scaled = self.scaled
        block, lane = tirx.floordiv(piece, scaled.lanes), tirx.floormod(piece, scaled.lanes)
        words = T.alloc_buffer((self.together * WORD,), "uint8", scope="local")
        for column in range(self.together):
            place = scaled.words[self._column(column, ranges), block, lane, 0]
            device_call("load_const_16", T.address_of(words[column * WORD]), T.address_of(place))
        if not self.run:
            with T.unroll(scaled.chunks) as chunk:
                ranges = {**ranges, chunk: scaled.chunks}
                self._chunk(words, piece, chunk, self.sums, self.of_data, ranges)
            return
        groups = scaled.chunks // self.run
        scales = self._scales(piece, groups, ranges)
        with T.unroll(groups) as group:
            sums, of_data = self._zeros(self.rows * self.together), self._zeros(self.rows)
            with T.unroll(self.run) as inner:
                ranges = {**ranges, group: groups, inner: self.run}
                self._chunk(words, piece, group * self.run + inner, sums, of_data, ranges)
            self._finish_groups(sums, of_data, lambda column: scales[column * groups + group], self.sums)

    def _column(self, column: int, ranges: Mapping[tirx.Var, int]) -> tirx.Expr:
        return analyzer_of(ranges).simplify(self.product.scaled_column(self.first + column))

    def _chunk(
        self,
        words: tirx.Buffer,
        piece: tirx.Expr,
        chunk: tirx.Expr,
        sums: tirx.Buffer,
        of_data: tirx.Buffer,
        ranges: Mapping[tirx.Var, int],
    ) -> None:
        """Emit the products of four weights of each column with all rows."""
        scaled = self.scaled
        word, plane = tirx.floordiv(chunk, scaled.planes), tirx.floormod(chunk, scaled.planes)
        weights = T.alloc_buffer((self.together * TOGETHER,), "float32", scope="local")
        for column in range(self.together):
            target = T.address_of(weights[column * TOGETHER])
            source = T.address_of(words[column * WORD + word * TOGETHER])
            device_call(f"floats_u{scaled.bits}", target, source, plane)
        for row in range(self.rows):
            data = self._data(row, piece, chunk, ranges)
            with T.unroll(TOGETHER) as number:
                if scaled.offset:
                    T.buffer_store(of_data, of_data[row] + data[number], [row])
                for column in range(self.together):
                    place = row * self.together + column
                    factor = weights[column * TOGETHER + number]
                    total = T.call_extern("float32", "fmaf", data[number], factor, sums[place])
                    T.buffer_store(sums, total, [place])

    def _data(
        self, row: int, piece: tirx.Expr, chunk: tirx.Expr, ranges: Mapping[tirx.Var, int]
    ) -> tirx.Buffer:
        """Emit the loads of a row's data at the places of four weights."""
        var = tirx.Var("lane", "int32")
        lane = Lane(var, TOGETHER, analyzer_of({**ranges, var: TOGETHER}))
        first = self.scaled.first(piece, chunk)
        value = self.data.at(tirx.const(row, "int32"), first + var)
        if self.scaled.length > self.data.length:  # behind the last place there are weights of 0
            place = first if self.data.length % TOGETHER == 0 else first + var
            value = tirx.if_then_else(place < self.data.length, value, _ZERO)
        return in_registers(value, lane)

    def _scales(self, piece: tirx.Expr, groups: int, ranges: Mapping[tirx.Var, int]) -> tirx.Buffer:
        """Emit the loads of the scales of a word of each column."""
        scaled = self.scaled
        scales = T.alloc_buffer((self.together * groups,), "float32", scope="local")
        length = scaled.chunks * scaled.lanes * TOGETHER
        for column in range(self.together):
            var = tirx.Var("lane", "int32")
            lane = Lane(var, groups, analyzer_of({**ranges, var: groups}))
            if length % groups == 0 and length // groups == scaled.group:  # the same for all lanes of a block
                index = tirx.floordiv(piece, scaled.lanes) * groups + var
            else:
                index = tirx.floordiv(scaled.first(piece, var * self.run), scaled.group)
            value = loaded_ahead(scaled.scales[self._column(column, ranges), index], lane)
            start = column * groups

            def store(
                at: Callable, start: int = start, value: tirx.Expr = value, var: tirx.Var = var
            ) -> None:
                T.buffer_store(scales, at(value), [start + at(var)])

            over(lane, store)
        return scales

    def _finish_groups(
        self,
        sums: tirx.Buffer,
        of_data: tirx.Buffer,
        scale: Callable[[int], tirx.Expr] | None,
        target: tirx.Buffer,
    ) -> None:
        """Emit what takes the weights' offset off sums, and what scales them."""
        for row in range(self.rows):
            for column in range(self.together):
                place = row * self.together + column
                total = sums[place]
                if self.scaled.offset:
                    offset = tirx.const(-self.scaled.offset, "float32")
                    total = T.call_extern("float32", "fmaf", of_data[row], offset, total)
                if scale is not None:
                    total = T.call_extern("float32", "fmaf", scale(column), total, target[place])
                T.buffer_store(target, total, [place])

    def _exchange(self) -> None:
        """Emit how the warps of a block add up their parts."""
        size = self.rows * self.together
        shared = T.alloc_buffer((self.team * size * 4,), "uint8", scope="shared.dyn")
        with T.If(self.lane == 0), T.Then(), T.unroll(size) as number:
            place = T.address_of(shared[(self.member * size + number) * 4])
            device_call("shared_store_4", place, T.address_of(self.sums[number]))
        device_call("barrier")
        part = T.alloc_buffer((1,), "float32", scope="local")
        with T.unroll(size) as number:
            T.buffer_store(self.sums, _ZERO, [number])
            with T.unroll(self.team) as member:
                place = T.address_of(shared[(member * size + number) * 4])
                device_call("shared_load_4", T.address_of(part[0]), place)
                T.buffer_store(self.sums, self.sums[number] + part[0], [number])

    def write(self) -> None:
        """Emit the results: a lane has a row's, since all lanes know all sums."""
        product = self.product
        last = product.columns[-1][1] if product.columns else 1
        width = gcd(gcd(self.together, VECTOR_BYTES // item_bytes(product.result.buffer)), last)
        for row in range(self.rows):
            with ExitStack() as stack:
                mine = [self.lane == row, *([self.member == 0] if self.team > 1 else [])]
                stack.enter_context(T.If(tirx.all(*mine)))
                stack.enter_context(T.Then())
                for start in range(0, self.together, width):
                    var = tirx.Var("lane", "int32")
                    lane = Lane(var, width, analyzer_of({**self.ranges, var: width}))
                    own = T.alloc_buffer((width,), "float32", scope="local")
                    for place in range(width):
                        column = start + place
                        total = self.sums[row * self.together + column] * tirx.const(
                            1 / self.scaled.unit, "float32"
                        )
                        if not self.run:
                            total = self.scaled.scales[self._column(column, self.ranges), 0] * total
                        T.buffer_store(own, total, [place])
                    write_result(
                        product,
                        tirx.const(0, "int32"),
                        tirx.const(row, "int32"),
                        self.first + start,
                        own,
                        lane,
                    )


def _run(product: Product) -> int:
    scaled = product.scaled
    if scaled.groups == 1:
        return 0
    step = scaled.lanes * TOGETHER
    if scaled.group % (scaled.chunks * step) == 0:
        return scaled.chunks
    run = scaled.group // step
    return run if scaled.group % step == 0 and scaled.chunks % run == 0 else 1
