"""Products: convolution as an implicit matrix product, dense layers, and products of two activations.

    global memory --(copies, several stages ahead)--> shared memory --> registers --(products)--> sums
    sums --(a slice of rows at a time)--> shared memory --> 16 bytes of the result a thread, by all that follows

Both operands lie in shared memory as rows of their inner product, in pieces of 16 bytes; a piece's place in its row is
exchanged with others by the number of the row, so that neither the copies nor the reads of eight rows meet in a bank:

    place of piece p of row r  =  p xor (r / (8 / pieces a row)) mod (pieces a row)

Where an operand's numbers do not lie together in memory (padding of single channels, packed weights) its threads
compute them and store them there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import tirx
from tvm.ir.expr import Call, TensorLoad
from tvm.script.ir_builder import tirx as T

from ...targets.cuda.calls import device_call, device_value
from ...targets.row import Gpu
from ..blocks import item_bytes
from ..space import Decide
from .definition import Step, substituted
from .threads import index_in, over, write
from .tiles import WARP, Tile, Unit, candidates
from .vectors import VECTOR_BYTES, Lane, analyzer_of, flat_index, loaded_ahead, place_of, uses

PIECE = 16
"""Bytes of a row that stay together in shared memory."""

SHORT_DTYPE = {"uint8": "u8", "int8": "s8"}
GRID = 16
"""Threads that lie side by side across a tile, where no tensor cores multiply."""

FEW_ROWS = 32
"""Rows up to which a warp's own products waste less than those of 64 rows."""

Element = Callable[[tirx.Expr, tirx.Expr], tirx.Expr]
"""``(row or column, place in the inner product) -> number``."""


@dataclass(frozen=True)
class Product:
    """``result[batch, row, column] = after(sum over depth of data[batch, row, depth] * factor[batch, column, depth])``.

    Attributes
    ----------
    sums, result : the steps.
    place : where the result reads the sums, by the result's axes.
    batch, rows, columns : axes of the result, with their extents.
    data, factor : the operands, by axes and taps of the sums.
    """

    sums: Step
    result: Step
    place: tuple[tirx.Expr, ...]
    batch: tuple[tuple[tirx.Var, int], ...]
    rows: tuple[tuple[tirx.Var, int], ...]
    columns: tuple[tuple[tirx.Var, int], ...]
    data: tirx.Expr
    factor: tirx.Expr

    @property
    def item(self) -> int:
        """Bytes of a number of the operands."""
        return 4 if self.dtype == "float32" else 1

    @property
    def dtype(self) -> str:
        """Of the sums."""
        return str(self.sums.buffer.dtype)

    @staticmethod
    def count(axes: Sequence[tuple[tirx.Var, int]]) -> int:
        return math.prod(extent for _, extent in axes)

    def unit(self, gpu: Gpu) -> Unit:
        if self.dtype == "float32":
            return Unit.FLOATS
        if 8 not in gpu.matrix_bits:
            return Unit.DOTS
        return Unit.WARPGROUPS if gpu.warpgroups and self.count(self.rows) > FEW_ROWS else Unit.MATRIX


def product_of(sums: Step, result: Step) -> Product | None:
    """Return the product that a result is made of; None where its axes are not rows, columns and batch."""
    if sums.combine is not tirx.Add or not isinstance(sums.value, tirx.Mul):
        return None
    data, factor = (_operand(side) for side in (sums.value.a, sums.value.b))
    dtypes = {str(data.ty.dtype), str(factor.ty.dtype)}
    is_float = dtypes == {"float32"} and str(sums.buffer.dtype) == "float32"
    is_integer = dtypes <= SHORT_DTYPE.keys() and str(sums.buffer.dtype) == "int32"
    place = index_in(result, sums)
    if place is None or not (is_float or is_integer):
        return None
    found: dict[str, list[tuple[tirx.Var, int]]] = {"batch": [], "rows": [], "columns": []}
    for axis, extent in zip(result.axes, result.extents, strict=True):
        roles = set()
        for own, index in zip(sums.axes, place, strict=True):
            if uses(index, [axis]):
                in_data, in_factor = uses(data, [own]), uses(factor, [own])
                roles.add("batch" if in_data == in_factor else "rows" if in_data else "columns")
        if len(roles) > 1:
            return None
        found[roles.pop() if roles else "batch"].append((axis, extent))
    return Product(
        *(sums, result, tuple(place)),
        *(tuple(found[role]) for role in ("batch", "rows", "columns")),
        *(data, factor),
    )


def _operand(expr: tirx.Expr) -> tirx.Expr:
    """Return what is widened."""
    return expr.value if isinstance(expr, tirx.Cast) and str(expr.ty.dtype) == "int32" else expr


def emit(product: Product, gpu: Gpu, decide: Decide) -> None:
    """Emit the launch of the kernel."""
    rows, columns, batch = (product.count(axes) for axes in (product.rows, product.columns, product.batch))
    unit = product.unit(gpu)
    possible = candidates(rows, columns, product.sums.length, batch, product.item, unit, gpu)
    tile = decide("tile", possible)
    inner = _INNER[unit](product, tile)
    with (
        T.launch_thread("blockIdx.x", -(-rows // tile.rows)) as down,
        T.launch_thread("blockIdx.y", -(-columns // tile.columns)) as across,
        T.launch_thread("blockIdx.z", batch) as number,
        T.launch_thread("threadIdx.x", tile.threads) as thread,
    ):
        ranges = {
            down: -(-rows // tile.rows),
            across: -(-columns // tile.columns),
            number: batch,
            thread: tile.threads,
        }
        _Kernel(product, tile, inner, (down, across, number, thread), ranges).emit()


class _Kernel:
    """Emits what a block does."""

    def __init__(self, product: Product, tile: Tile, inner: _Inner, at: Sequence[tirx.Var], ranges) -> None:
        self.product, self.tile, self.inner, self.ranges = product, tile, inner, ranges
        self.down, self.across, number, self.thread = at
        self.numbers = tile.depth // product.item
        self.steps = -(-product.sums.length // self.numbers)
        analyzer = analyzer_of(ranges)
        batch = [
            analyzer.simplify(place) for place in place_of(number, [extent for _, extent in product.batch])
        ]
        self.batch = dict(zip((axis for axis, _ in product.batch), batch, strict=True))
        self.shared = T.alloc_buffer((tile.shared_bytes(inner.slice_rows),), "uint8", scope="shared.dyn")
        self.loaders = [
            _Loader(self, product.data, product.rows, tile.rows, 0, self.down),
            _Loader(self, product.factor, product.columns, tile.columns, tile.rows * tile.depth, self.across),
        ]

    def values(self, axes: Sequence[tuple[tirx.Var, int]], flat: tirx.Expr) -> dict[tirx.Var, tirx.Expr]:
        places = place_of(flat, [extent for _, extent in axes])
        return dict(zip((axis for axis, _ in axes), places, strict=True))

    def element(self, operand: tirx.Expr, axes: Sequence[tuple[tirx.Var, int]]) -> Element:
        """Return an operand by its row or column and the place in the inner product."""
        sums, zero = self.product.sums, tirx.const(0, "int32")

        def at(line: tirx.Expr, place: tirx.Expr) -> tirx.Expr:
            every = {axis: zero for axis in self.product.result.axes}
            known = {**every, **self.batch, **self.values(axes, line)}
            own = [substituted(index, known) for index in self.product.place]
            taps = place_of(place, sums.tap_extents)
            return substituted(operand, dict(zip((*sums.axes, *sums.taps), (*own, *taps), strict=True)))

        return at

    def emit(self) -> None:
        tile, stages, inner = self.tile, self.tile.stages, self.inner
        ahead = stages - inner.held
        for loader in self.loaders:
            loader.prepare()
        inner.start(self.shared, self.thread)
        for stage in range(ahead):
            if stage < self.steps:
                self.load(tirx.const(stage, "int32"), tirx.const(stage, "int32"))
            device_call("copy_commit")
        with T.serial(self.steps) as step:
            self.ranges[step] = self.steps
            device_call("copy_wait", ahead - 1)
            inner.before_barrier()
            device_call("barrier")
            base = tirx.floormod(step, stages) * tile.stage_bytes
            if inner.held > 1:  # what multiplies goes on while copies are asked for
                inner.multiply(base)
            if self.steps > ahead:
                with T.If(step + ahead < self.steps), T.Then():
                    self.load(step + ahead, tirx.floormod(step + ahead, stages))
            device_call("copy_commit")
            if inner.held > 1:
                inner.wait()
            else:
                inner.multiply(base)
        inner.finish()
        self.write()

    def load(self, step: tirx.Expr, stage: tirx.Expr) -> None:
        for loader in self.loaders:
            loader.load(step, stage * self.tile.stage_bytes)

    def write(self) -> None:
        """Emit how the sums leave: a slice of rows at a time by way of shared memory."""
        product, tile = self.product, self.tile
        columns, rows = product.count(product.columns), product.count(product.rows)
        last = product.columns[-1][1] if product.columns else 1
        count = math.gcd(math.gcd(last, tile.columns), VECTOR_BYTES // item_bytes(product.result.buffer))
        pieces = self.inner.slice_rows * tile.columns // count
        with T.unroll(self.inner.slices) as part:
            device_call("barrier")  # nobody reads what is to be overwritten
            self.inner.put(part, tile.pitch)
            device_call("barrier")
            with T.serial(-(-pieces // tile.threads)) as turn:
                piece = turn * tile.threads + self.thread
                line = tirx.floordiv(piece, tile.columns // count)
                first = tirx.floormod(piece, tile.columns // count) * count
                row = self.down * tile.rows + self.inner.row_of(part, line)
                var = tirx.Var("lane", "int32")
                column = self.across * tile.columns + first
                conditions = [piece < pieces] if pieces % tile.threads else []
                conditions += [row < rows] if rows % tile.rows else []
                conditions += [column < columns] if columns % tile.columns else []
                known = {**self.ranges, turn: -(-pieces // tile.threads), part: self.inner.slices, var: count}
                lane = Lane(var, count, analyzer_of(known))

                def piece_of_result() -> None:
                    sums = T.alloc_buffer((count,), product.dtype, scope="local")
                    for start in range(0, count, 4):
                        width = min(4, count)
                        place = self.shared[line * tile.pitch + (first + start) * 4]
                        device_call(
                            f"shared_load_{4 * width}", T.address_of(sums[start]), T.address_of(place)
                        )
                    self.result(sums, row, column, lane)

                if conditions:
                    with T.If(tirx.all(*conditions)), T.Then():
                        piece_of_result()
                else:
                    piece_of_result()

    def result(self, sums: tirx.Buffer, row: tirx.Expr, column: tirx.Expr, lane: Lane) -> None:
        """Emit the result of neighbouring columns of a row."""
        product, simplify = self.product, lane.analyzer.simplify
        known = {
            **self.batch,
            **self.values(product.rows, row),
            **self.values(product.columns, column + lane.var),
        }
        index = [simplify(known[axis]) for axis in product.result.axes]
        place = [substituted(each, known) for each in product.place]
        total = tirx.BufferLoad(sums, [lane.var]) + product.sums.start_at(place)
        own = product.sums.buffer

        def replaced(load: TensorLoad) -> tirx.Expr:
            return total if load.source.same_as(own) else load

        value = tvm_ffi.structural_map(product.result.at(index), [(TensorLoad, replaced)])
        write(product.result.buffer, product.result.index_at(index), value, lane)


class _Loader:
    """Emits how the threads of a block bring a tile of an operand into shared memory.

    Parameters
    ----------
    kernel : whose loader it is.
    operand, axes : what is loaded, and the result's axes that number its lines.
    lines : rows or columns of the tile.
    offset : where it begins in a stage, in bytes.
    number : which tile it is.
    """

    def __init__(
        self,
        kernel: _Kernel,
        operand: tirx.Expr,
        axes: Sequence[tuple[tirx.Var, int]],
        lines: int,
        offset: int,
        number: tirx.Var,
    ) -> None:
        self.kernel, self.lines, self.offset, self.number = kernel, lines, offset, number
        self.element, self.count = kernel.element(operand, axes), kernel.product.count(axes)
        self.length = kernel.product.sums.length
        self.is_copy, self.width = self._widest()
        self.bytes = self.width * kernel.product.item

    def prepare(self) -> None:
        """Emit what is the same for all stages."""
        if self.is_copy:
            outside = self._parts(*self._sample())[2]
            dtype = str(outside.ty.dtype)
            self.outside = T.alloc_buffer((self.width,), dtype, scope="local")
            for place in range(self.width):
                T.buffer_store(self.outside, outside, [place])

    def load(self, step: tirx.Expr, base: tirx.Expr) -> None:
        """Emit the load of a stage, which begins at ``base`` in shared memory."""
        tile, kernel = self.kernel.tile, self.kernel
        a_line = tile.depth // self.bytes
        pieces = self.lines * a_line
        with T.unroll(-(-pieces // tile.threads)) as turn:
            piece = turn * tile.threads + kernel.thread
            line, part = tirx.floordiv(piece, a_line), tirx.floormod(piece, a_line)
            shared = kernel.shared[base + self.offset + swizzled(line, part * self.bytes, tile.depth)]
            whole = self.number * self.lines + line
            if self.count % self.lines:  # lines beyond the last are computed, and not written
                whole = tirx.min(whole, self.count - 1)
            place = step * kernel.numbers + part * self.width
            ranges = {**kernel.ranges, turn: -(-pieces // tile.threads)}
            if isinstance(step, tirx.Var):
                ranges[step] = kernel.steps

            def piece_of_tile() -> None:
                self._piece(whole, place, shared, ranges)

            if pieces % tile.threads:
                with T.If(piece < pieces), T.Then():
                    piece_of_tile()
            else:
                piece_of_tile()

    def _piece(self, line: tirx.Expr, place: tirx.Expr, shared: tirx.Expr, ranges) -> None:
        var = tirx.Var("lane", "int32")
        lane = Lane(var, self.width, analyzer_of({**ranges, var: self.width}))
        is_whole = self.length % self.kernel.numbers == 0
        conditions = [] if is_whole else [place < self.length]
        if not self.is_copy:
            value = self.element(line, place + var)
            numbers = T.alloc_buffer((self.width,), str(value.ty.dtype), scope="local")
            if conditions:
                value = tirx.if_then_else(conditions[0], value, tirx.const(0, str(value.ty.dtype)))
            value = loaded_ahead(value, lane)
            over(lane, lambda at: T.buffer_store(numbers, at(value), [at(lane.var)]))
            device_call(f"shared_store_{self.bytes}", T.address_of(shared), T.address_of(numbers[0]))
            return
        load, inside, _ = self._parts(lane.at(self.element(line, place + var), 0), lane)
        conditions += inside
        source = load.source[tuple(lane.analyzer.simplify(index) for index in load.indices)]

        def copy() -> None:
            device_call(f"copy_async_{self.bytes}", T.address_of(shared), T.address_of(source))

        if not conditions:
            copy()
            return
        with T.If(tirx.all(*conditions)):
            with T.Then():
                copy()
            with T.Else():
                device_call(f"shared_store_{self.bytes}", T.address_of(shared), T.address_of(self.outside[0]))

    def _sample(self) -> tuple[tirx.Expr, Lane]:
        """Return the operand at any piece of so many numbers."""
        line, piece, var = (tirx.Var(name, "int32") for name in ("line", "piece", "lane"))
        ranges = {
            **self.kernel.ranges,
            line: self.count,
            piece: -(-self.length // self.width),
            var: self.width,
        }
        lane = Lane(var, self.width, analyzer_of(ranges))
        return self.element(line, piece * self.width + var), lane

    def _widest(self) -> tuple[bool, int]:
        """Return whether pieces of the operand can be copied, and of how many numbers they are."""
        item = self.kernel.product.item
        self.width = PIECE // item
        while self.width * item >= 4:
            if self.length % self.width == 0 and self._parts(*self._sample()) is not None:
                return True, self.width
            self.width //= 2
        return False, math.gcd(self.length, 4 // item)

    def _parts(self, value: tirx.Expr, lane: Lane) -> tuple[TensorLoad, list[tirx.Expr], tirx.Expr] | None:
        """Return what is copied, under which conditions, and what stands there where they do not hold."""
        outside: tirx.Expr = tirx.const(0, str(value.ty.dtype))
        conditions: list[tirx.Expr] = []
        if isinstance(value, Call) and str(getattr(value.op, "name", "")) == "prim.if_then_else":
            condition, value, outside = value.args
            conditions.append(lane.analyzer.simplify(condition))
            if not isinstance(outside, tirx.IntImm | tirx.FloatImm):
                return None
        if not isinstance(value, TensorLoad):
            return None
        index = flat_index(value.source, value.indices)
        varies = any(
            lane.varies(lane.analyzer.simplify(condition)) and not _is_constant(condition, lane)
            for condition in conditions
        )
        if varies or (lane.varies(value) and not lane.runs_along(index)):
            return None
        if lane.varies(value) and lane.together(index, self.width) < self.width:
            return None
        return value, conditions, outside


def _is_constant(condition: tirx.Expr, lane: Lane) -> bool:
    """Tell whether a condition is the same for all lanes."""
    first, last = (lane.analyzer.simplify(lane.at(condition, place)) for place in (0, lane.count - 1))
    return tvm_ffi.structural_equal(first, last)


def swizzled(line: tirx.Expr, offset: tirx.Expr, depth: int) -> tirx.Expr:
    """Return where byte ``offset`` of a line of a tile lies; lines are ``depth`` bytes long."""
    pieces = depth // PIECE
    piece, rest = tirx.floordiv(offset, PIECE), tirx.floormod(offset, PIECE)
    key = tirx.floormod(tirx.floordiv(line, max(1, 8 // pieces)), pieces)
    return line * depth + (piece ^ key) * PIECE + rest


class _Inner:
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

    def line(self, base: tirx.Expr, line: tirx.Expr, piece: tirx.Expr) -> tirx.Expr:
        """Return the address of a piece of a line of the tile at ``base``."""
        return T.address_of(self.shared[base + swizzled(line, piece * PIECE, self.tile.depth)])


class _Matrix(_Inner):
    """Tensor cores: products of 16 x 32 by 32 x 8, of a warp."""

    def __init__(self, product: Product, tile: Tile) -> None:
        super().__init__(product, tile)
        self.slices = tile.rows // tile.down // 16
        self.slice_rows = 16 * tile.down
        self.blocks = tile.columns // tile.across // 8
        self.name = "".join(SHORT_DTYPE[str(operand.ty.dtype)] for operand in (product.data, product.factor))

    def start(self, shared: tirx.Buffer, thread: tirx.Var) -> None:
        super().start(shared, thread)
        self.lane, warp = tirx.floormod(thread, WARP), tirx.floordiv(thread, WARP)
        self.down, self.across = tirx.floordiv(warp, self.tile.across), tirx.floormod(warp, self.tile.across)
        self.data = T.alloc_buffer((4 * self.slices,), "uint32", scope="local")
        self.factors = T.alloc_buffer((2 * self.blocks,), "uint32", scope="local")

    def multiply(self, base: tirx.Expr) -> None:
        lane, tile = self.lane, self.tile
        height, width = tile.rows // tile.down, tile.columns // tile.across
        columns = base + tile.rows * tile.depth
        together = 2 if self.blocks % 2 == 0 else 1
        with T.unroll(tile.depth // 32) as step:
            with T.unroll(self.slices) as part:
                line = self.down * height + part * 16 + tirx.floormod(lane, 16)
                address = self.line(base, line, step * 2 + tirx.floordiv(lane, 16))
                device_call("ldmatrix_x4", T.address_of(self.data[part * 4]), address)
            with T.unroll(self.blocks // together) as pair:
                inside = tirx.floormod(lane, 8) + (tirx.floordiv(lane, 16) * 8 if together == 2 else 0)
                line = self.across * width + pair * (8 * together) + inside
                address = self.line(columns, line, step * 2 + tirx.floormod(tirx.floordiv(lane, 8), 2))
                device_call(
                    f"ldmatrix_x{2 * together}", T.address_of(self.factors[pair * 2 * together]), address
                )
            with T.unroll(self.slices) as part, T.unroll(self.blocks) as block:
                device_call(
                    f"mma_{self.name}",
                    T.address_of(self.sums[(part * self.blocks + block) * 4]),
                    T.address_of(self.data[part * 4]),
                    T.address_of(self.factors[block * 2]),
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


class _Warpgroups(_Inner):
    """Tensor cores: products of 64 x 32 by 32 x all columns, of four warps, which read shared memory themselves."""

    held = 2

    def __init__(self, product: Product, tile: Tile) -> None:
        super().__init__(product, tile)
        self.groups = tile.down // 4
        self.slices = tile.rows // 64 // self.groups
        self.slice_rows = 64 * self.groups
        self.name = "".join(SHORT_DTYPE[str(operand.ty.dtype)] for operand in (product.data, product.factor))

    def start(self, shared: tirx.Buffer, thread: tirx.Var) -> None:
        super().start(shared, thread)
        self.group = tirx.floordiv(thread, 4 * WARP)

    def before_barrier(self) -> None:
        device_call("shared_fence")

    def multiply(self, base: tirx.Expr) -> None:
        tile = self.tile
        device_call("wgmma_fence")
        with T.unroll(tile.depth // 32) as step, T.unroll(self.slices) as part:
            first = (self.group * self.slices + part) * 64
            device_call(
                f"wgmma_{self.name}_{tile.columns}",
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


class _Grid(_Inner):
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
        self.factors = T.alloc_buffer((4,), self.number, scope="local")

    number: str
    """Dtype of the four numbers of a piece."""

    def multiply(self, base: tirx.Expr) -> None:
        tile = self.tile
        columns = base + tile.rows * tile.depth
        with T.serial(tile.depth // PIECE) as piece:
            with T.unroll(self.slices) as part:
                address = self.line(base, part * self.slice_rows + self.down, piece)
                device_call("shared_load_16", T.address_of(self.data[part * 4]), address)
            with T.unroll(self.blocks) as block:
                address = self.line(columns, block * GRID + self.across, piece)
                device_call("shared_load_16", T.address_of(self.factors[0]), address)
                with T.unroll(self.slices) as part, T.unroll(4) as number:
                    place = part * self.blocks + block
                    T.buffer_store(self.sums, self.add(part * 4 + number, number, place), [place])

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
        name = "".join(
            SHORT_DTYPE[str(operand.ty.dtype)] for operand in (self.product.data, self.product.factor)
        )
        operands = T.address_of(self.data[data]), T.address_of(self.factors[factor])
        return device_value("int32", f"dp4a_{name}", *operands, self.sums[place])


class _Floats(_Grid):
    """Multiply-adds of float32, which round once."""

    number = "float32"

    def add(self, data: tirx.Expr, factor: tirx.Expr, place: tirx.Expr) -> tirx.Expr:
        return T.call_extern("float32", "fmaf", self.data[data], self.factors[factor], self.sums[place])


_INNER: dict[Unit, type[_Inner]] = {
    Unit.WARPGROUPS: _Warpgroups,
    Unit.MATRIX: _Matrix,
    Unit.DOTS: _Dots,
    Unit.FLOATS: _Floats,
}
