"""The kernel of a product: tiles of both operands in shared memory, several stages ahead of the products.

global memory --(copies)--> shared memory --> registers --(products)--> sums
sums --(a slice of rows at a time)--> shared memory --> 16 bytes of the result a thread, by all that follows
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ...targets.cuda.calls import device_call
from ...targets.row import Gpu
from ..blocks import item_bytes
from ..space import Decide
from . import bits
from .product import Product, count
from .scaled_loads import ScaledLoader
from .threads import write
from .tile_loads import Loader, PackingLoader, Place
from .tiles import Tile, Unit, candidates
from .units import UNITS, Inner
from .vectors import VECTOR_BYTES, Lane, analyzer_of, under


def tile_of(product: Product, gpu: Gpu, decide: Decide) -> Tile:
    """Return the tile of a block."""
    sizes = count(product.rows), count(product.columns), product.sums.length, count(product.batch)
    widths = product.data_bits, product.factor_bits
    return decide("tile", candidates(*sizes, product.item, *widths, gpu))


def emit(product: Product, tile: Tile) -> None:
    """Emit the launch of the kernel."""
    rows, columns, batch = (count(axes) for axes in (product.rows, product.columns, product.batch))
    down, across = -(-rows // tile.rows), -(-columns // tile.columns)
    with (
        T.launch_thread("blockIdx.x", down * batch) as block,
        T.launch_thread("blockIdx.y", across) as column,
        T.launch_thread("threadIdx.x", tile.threads) as thread,
    ):
        ranges = {block: down * batch, column: across, thread: tile.threads}
        _Kernel(product, tile, (block, column, thread), ranges).emit()


class _Kernel:
    """Emits what a block does."""

    def __init__(
        self, product: Product, tile: Tile, at: Sequence[tirx.Var], ranges: dict[tirx.Var, int]
    ) -> None:
        self.product, self.tile, self.ranges = product, tile, ranges
        block, self.across, self.thread = at
        down = -(-count(product.rows) // tile.rows)
        self.batch, self.down = (
            tirx.floordiv(block, down) if count(product.batch) > 1 else tirx.const(0, "int32"),
            tirx.floormod(block, down) if count(product.batch) > 1 else block,
        )
        self.inner: Inner = UNITS[tile.unit](product, tile)
        self.steps = -(-product.sums.length // (tile.depth // product.item))
        size = tile.shared_bytes
        self.shared = T.alloc_buffer((size,), "uint8", scope="shared.dyn")
        places = (
            Place(self.shared, 0, tile.rows, tile.data_depth, self.down, self.thread, tile.threads, ranges),
            Place(
                *(self.shared, tile.rows * tile.data_depth, tile.columns, tile.factor_depth),
                *(self.across, self.thread, tile.threads, ranges),
            ),
        )
        loader = PackingLoader if tile.unit is Unit.NIBBLES else Loader
        self.loaders = [
            loader(product.data_operand(self.batch, ranges), places[0]),
            ScaledLoader(product, places[1])
            if product.scaled is not None
            else Loader(product.factor_operand(self.batch, ranges), places[1], tile.unpacked_bits),
        ]

    def emit(self) -> None:
        tile, stages, inner = self.tile, self.tile.stages, self.inner
        ahead = stages - inner.held
        for loader in self.loaders:
            loader.prepare()
        inner.start(self.shared, self.thread)
        for stage in range(ahead):
            if stage < self.steps:
                at = tirx.const(stage, "int32")
                self.load(at, at)
                self.complete(at, at)
            device_call("copy_commit")
        with T.serial(self.steps) as step:
            device_call("copy_wait", ahead - 1)
            inner.before_barrier()
            device_call("barrier")
            base = tirx.floormod(step, stages) * tile.stage_bytes
            if inner.held > 1:  # what multiplies goes on while copies are asked for
                inner.multiply(base)
            if self.steps > ahead:
                with T.If(step + ahead < self.steps), T.Then():
                    self.load(step + ahead, tirx.floormod(step + ahead, stages), step)
            device_call("copy_commit")
            if inner.held > 1:
                inner.wait()
            else:
                inner.multiply(base)
            if self.steps > ahead and any(loader.by_registers for loader in self.loaders):
                with T.If(step + ahead < self.steps), T.Then():
                    self.complete(step + ahead, tirx.floormod(step + ahead, stages), step)
        inner.finish()
        self.write()

    def load(self, step: tirx.Expr, stage: tirx.Expr, loop: tirx.Var | None = None) -> None:
        """Emit the load of a stage; ``loop`` is the variable that ``step`` depends on."""
        ranges = {} if loop is None else {loop: self.steps}
        for loader in self.loaders:
            loader.load(step, stage * self.tile.stage_bytes, ranges)

    def complete(self, step: tirx.Expr, stage: tirx.Expr, loop: tirx.Var | None = None) -> None:
        """Emit what is left of the load of a stage behind the products of another."""
        ranges = {} if loop is None else {loop: self.steps}
        for loader in self.loaders:
            if loader.by_registers:
                loader.complete(step, stage * self.tile.stage_bytes, ranges)

    def write(self) -> None:
        """Emit how the sums leave: a slice of rows at a time by way of shared memory."""
        product, tile = self.product, self.tile
        columns, rows = count(product.columns), count(product.rows)
        last = product.columns[-1][1] if product.columns else 1
        width = math.gcd(math.gcd(last, tile.columns), VECTOR_BYTES // item_bytes(product.result.buffer))
        pieces = self.inner.slice_rows * tile.columns // width
        turns = -(-pieces // tile.threads)
        with T.unroll(self.inner.slices) as part:
            device_call("barrier")  # nobody reads what is to be overwritten
            self.inner.put(part, tile.pitch)
            device_call("barrier")
            with T.serial(turns) as turn:
                piece = turn * tile.threads + self.thread
                line = tirx.floordiv(piece, tile.columns // width)
                first = tirx.floormod(piece, tile.columns // width) * width
                row = self.down * tile.rows + self.inner.row_of(part, line)
                column = self.across * tile.columns + first
                conditions = [piece < pieces] if pieces % tile.threads else []
                conditions += [row < rows] if rows % tile.rows else []
                conditions += [column < columns] if columns % tile.columns else []
                var = tirx.Var("lane", "int32")
                ranges = {**self.ranges, turn: turns, part: self.inner.slices, var: width}
                lane = Lane(var, width, analyzer_of(ranges))

                def emit(line=line, first=first, row=row, column=column, lane=lane) -> None:
                    sums = T.alloc_buffer((width,), product.dtype, scope="local")
                    for start in range(0, width, 4):
                        size = 4 * min(4, width)
                        place = self.shared[line * tile.pitch + (first + start) * 4]
                        device_call(f"shared_load_{size}", T.address_of(sums[start]), T.address_of(place))
                    write_result(product, self.batch, row, column, sums, lane)

                under(conditions, emit)


def write_result(
    product: Product,
    batch: tirx.Expr,
    row: tirx.Expr,
    column: tirx.Expr,
    sums: tirx.Buffer,
    lane: Lane,
) -> None:
    """Emit the result of neighbouring columns of a row, of sums in registers."""
    known = product.known(batch, row, column + lane.var)
    known = {axis: lane.analyzer.simplify(place) for axis, place in known.items()}
    value = product.finished(known, tirx.BufferLoad(sums, [lane.var]))
    if product.bits is not None:
        bits.write(product.bits, product.index(known), value, lane)
        return
    write(product.result.buffer, product.index(known), value, lane)
