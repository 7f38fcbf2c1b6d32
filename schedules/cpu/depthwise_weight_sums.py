"""Kernel of the gradient of a depthwise convolution's weights.

    dw[c, i, j] = sum over n, h, w of dy[n, h, w, c] x[n, h s + i d - p, w s + j d - p, c]

Channels are the lanes. A register tile has the columns of one row of the filter by a few vectors of channels, and goes
along the rows of a chunk that stays in the second-level cache. Each thread has rows of its own, and sums of its own,
which are added up at the end in order:

    for each chunk of rows:  for each few vectors of channels:  for each row of the filter:
        for each row of the chunk, for each w:  tile[j] += dy[w] x[w s + j d - p]

Where all columns of the filter see data nothing is asked; at the ends of a row each is.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ...passes.hub.packing import ceil_div
from ...passes.realize.compute.contraction import Conv2d
from ...passes.realize.compute.vectors import load, number, store
from ...passes.train.kernels.weight_sums import DEPTHWISE
from ...targets.row import TargetRow
from ..blocks import size_of
from .outer_tiles import LATENCY, Vectors
from .taps import Places, conv2d_of

MOST_SUMS = 3 * LATENCY
"""Of a tile: more than the ``2 * LATENCY`` with which none waits for another, and few enough for 16 registers."""


def depthwise_weight_sums_kernel(func: tirx.PrimFunc, row: TargetRow, threads: int) -> tirx.PrimFunc | None:
    """Return the function as this kernel; None where it computes something else."""
    form = conv2d_of(func, DEPTHWISE)
    if form is None or row.is_sample:
        return None
    made = _Kernel(form, list(func.params), row, threads).emit()
    return made.with_attrs({**dict(func.attrs or {}), "tirx.is_scheduled": True})


class _Kernel:
    """Emits the function."""

    def __init__(self, form: Conv2d, buffers: list[tirx.Buffer], row: TargetRow, threads: int) -> None:
        self.form, self.buffers, self.threads = form, buffers, threads
        self.places, self.channels = Places.of(form, *buffers[:2]), int(buffers[0].shape[-1])
        (_, _, width), (images, out_h, out_w) = self.places.data, self.places.result
        self.vectors = Vectors.of(self.channels, row.vector_bits // 32)
        self.together = max(1, min(self.vectors.count, MOST_SUMS // form.kernel[1]))
        self.rows = images * out_h
        self.slices = min(threads, self.rows)
        own = ceil_div(self.rows, self.slices)
        a_row = 4 * self.channels * (out_w + width * form.strides[0])
        self.chunks = ceil_div(own, max(1, row.l2_bytes // 2 // a_row))
        self.chunk = ceil_div(own, self.chunks)

    def emit(self) -> tirx.PrimFunc:
        with IRBuilder() as builder, T.prim_func(s_tir=True):
            args = [
                T.arg(f"arg{place}", T.buffer(buffer.shape, "float32"))
                for place, buffer in enumerate(self.buffers)
            ]
            with T.sblock("root"):
                T.reads()
                T.writes()
                self.data, self.gradient, result = (
                    T.decl_buffer((size_of(buffer.shape),), "float32", data=buffer.data) for buffer in args
                )
                self.sums = T.alloc_buffer((self.slices, *self.form.kernel, self.vectors.stored), "float32")
                loop = T.parallel if self.threads > 1 else T.serial
                with loop(0, self.slices) as at, T.serial(0, self.chunks) as chunk:
                    start = (at * self.chunks + chunk) * self.chunk
                    self._chunk(at, chunk, start, T.min(start + self.chunk, self.rows))
                self._finish(result)
        return builder.get()

    def _chunk(self, at: tirx.Expr, chunk: tirx.Expr, start: tirx.Expr, stop: tirx.Expr) -> None:
        lanes, together = self.vectors.lanes, self.together
        whole, left = self.vectors.groups(together)

        def taps(vectors: Sequence[tirx.Expr | int], columns: Sequence[tirx.Expr | int]) -> None:
            with T.serial(0, self.form.kernel[0]) as tap:
                own = [
                    [at, tap, each, vector * lanes]
                    for each in range(self.form.kernel[1])
                    for vector in vectors
                ]
                self._tile(chunk, start, stop, tap, own, columns)

        with T.serial(0, whole) as group:
            vectors = [group * together + vector for vector in range(together)]
            taps(vectors, [vector * lanes for vector in vectors])
        if left:
            taps(left, [self.vectors.first_column(vector) for vector in left])

    def _tile(self, chunk, start, stop, tap, in_memory: Sequence[list], columns: Sequence) -> None:
        """Emit the sums of a register tile over a chunk: ``in_memory`` is where each is kept, columns by columns."""
        lanes, taps = self.vectors.lanes, self.form.kernel[1]
        sums = [T.alloc_buffer((lanes,), "float32") for _ in in_memory]
        with T.If(chunk == 0):
            with T.Then():
                for own in sums:
                    store(own, number(0.0, lanes), [0])
            with T.Else():
                for own, place in zip(sums, in_memory, strict=True):
                    store(own, load(self.sums, place, lanes), [0])

        def add(column: tirx.Expr, of_data: tirx.Expr, factors: Sequence[tirx.Expr], each: int) -> None:
            place = of_data + column * self.form.strides[1] + self.places.shift(each)
            for number_of, (first, factor) in enumerate(zip(columns, factors, strict=True)):
                own = sums[each * len(columns) + number_of]
                value = load(self.data, [place * self.channels + first], lanes)
                store(own, load(own, [0], lanes) + value * factor, [0])

        def along(of_data: tirx.Expr, of_result: tirx.Expr) -> None:
            def at_columns(first, end, asks: bool) -> None:
                with T.serial(0, end - first) as step:
                    column = first + step
                    base = (of_result + column) * self.channels
                    factors = [load(self.gradient, [base + place], lanes) for place in columns]
                    for each in range(taps):
                        if asks:
                            low, high = self.places.first_column(each), self.places.end_column(each)
                            with T.If(tirx.all(column >= low, column < high)), T.Then():
                                add(column, of_data, factors, each)
                        else:
                            add(column, of_data, factors, each)

            # The first tap is the last to see data, and the last tap the first to see none.
            inner = self.places.first_column(0), self.places.end_column(taps - 1)
            first = T.min(inner[0], self.places.result[2])
            end = T.max(first, inner[1])
            at_columns(0, first, True)
            at_columns(first, end, False)
            at_columns(end, self.places.result[2], True)

        with T.serial(0, stop - start) as row:
            self.places.in_row(start + row, tap, along)
        for own, place in zip(sums, in_memory, strict=True):
            store(self.sums, load(own, [0], lanes), place)

    def _finish(self, result: tirx.Buffer) -> None:
        """Emit the sums over slices, in the order of the result."""
        height, width = self.form.kernel
        with T.serial(0, self.channels) as channel:
            for i in range(height):
                for j in range(width):
                    index = [i, j, self.vectors.place_of(channel)]
                    total = tirx.BufferLoad(self.sums, [0, *index])
                    for at in range(1, self.slices):
                        total = total + tirx.BufferLoad(self.sums, [at, *index])
                    T.buffer_store(result, total, [(channel * height + i) * width + j])
