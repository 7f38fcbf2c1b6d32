"""Orders and running sums of long rows, for GPUs: a block of threads has a row, and shares it out.

    select:  k times: each thread's best of what is behind the last result, and of those the best, half by half
    sort:    all indices by a bitonic network: n * log2(n)^2 / 4 comparisons, n / 2 of them at a time
    scan:    a thread sums up a piece; those sums run in log2(pieces) steps; each thread runs along its piece

Orders are those of ``scans.order``. The scan adds floats in another order than ``scans.scan``: first within pieces.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from .annotations import BY_THREADS, INDEPENDENT

LONG = 64
"""Numbers from which on a row is long enough for a block."""

MOST_SELECTED = 32
"""Results up to which a row is gone through once for each."""

MOST_THREADS = 1024
A_THREAD = 8
"""Numbers that a thread of a scan has at least."""


def _by_threads(extent: int):
    return T.serial(extent, annotations={BY_THREADS: 1})


def order(
    rows: int, extent: int, count: int, dtype: str, index_dtype: str, descending: bool
) -> tirx.PrimFunc:
    """Return the function ``(data [rows, extent], values [rows, count], indices [rows, count])``.

    Parameters
    ----------
    count : how many of each row's elements are wanted.
    dtype, index_dtype : of the data and of the indices.
    """
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        data = T.arg("data", T.buffer((rows, extent), dtype))
        values = T.arg("values", T.buffer((rows, count), dtype))
        indices = T.arg("indices", T.buffer((rows, count), index_dtype))
        emit = _select if count <= MOST_SELECTED else _sort
        with T.sblock("root"):
            emit(data, values, indices, descending)
    return builder.get()


def _select(data: tirx.Buffer, values: tirx.Buffer, indices: tirx.Buffer, descending: bool) -> None:
    (rows, extent), count = data.shape, int(values.shape[1])
    threads = min(MOST_THREADS, 1 << math.ceil(math.log2(-(-int(extent) // 4))))
    best = T.sblock_alloc_buffer((threads,), str(data.dtype))
    place = T.sblock_alloc_buffer((threads,), "int32")
    last = T.sblock_alloc_buffer((1,), str(data.dtype))
    last_place = T.sblock_alloc_buffer((1,), "int32")

    def is_before(one: tirx.Expr, other: tirx.Expr) -> tirx.Expr:
        return one > other if descending else one < other

    with T.sblock("select"):
        _touches(data, values, indices)
        with T.serial(int(rows)) as row, T.serial(count) as number:
            with _by_threads(threads) as thread:
                T.buffer_store(place, -1, [thread])
                with T.serial(-(-int(extent) // threads)) as turn:
                    at = turn * threads + thread
                    with T.If(at < extent), T.Then():
                        value = data[row, at]
                        is_equal = T.And(value == last[0], at > last_place[0])
                        is_behind = T.Or(is_before(last[0], value), is_equal)
                        is_better = T.Or(place[thread] < 0, is_before(value, best[thread]))
                        is_wanted = T.And(T.Or(number == 0, is_behind), is_better)
                        if str(data.dtype).startswith("float"):
                            is_wanted = T.And(T.Not(T.isnan(value)), is_wanted)
                        with T.If(is_wanted), T.Then():
                            T.buffer_store(best, value, [thread])
                            T.buffer_store(place, at, [thread])
            half = threads // 2
            while half:
                with _by_threads(half) as thread:
                    other = thread + half
                    is_former = T.And(best[other] == best[thread], place[other] < place[thread])
                    is_better = T.Or(is_before(best[other], best[thread]), is_former)
                    with T.If(T.And(place[other] >= 0, T.Or(place[thread] < 0, is_better))), T.Then():
                        T.buffer_store(best, best[other], [thread])
                        T.buffer_store(place, place[other], [thread])
                half //= 2
            with _by_threads(1) as only:
                found = T.max(
                    place[only], 0
                )  # NaN is no result; where all that is left is NaN, there is none
                T.buffer_store(values, data[row, found], [row, number])
                T.buffer_store(indices, T.cast(found, str(indices.dtype)), [row, number])
                T.buffer_store(last, data[row, found], [only])
                T.buffer_store(last_place, found, [only])


def _sort(data: tirx.Buffer, values: tirx.Buffer, indices: tirx.Buffer, descending: bool) -> None:
    (rows, extent), count = data.shape, int(values.shape[1])
    steps = math.ceil(math.log2(int(extent)))
    room = 1 << steps
    order = T.sblock_alloc_buffer((room,), "int32")
    held = T.sblock_alloc_buffer((room // 2,), "int32")

    def is_before(row: tirx.Expr, one: tirx.Expr, other: tirx.Expr) -> tirx.Expr:
        """What is behind the row's end comes last."""
        first, second = (data[row, T.min(place, extent - 1)] for place in (one, other))
        is_better = first > second if descending else first < second
        is_former = T.And(first == second, one < other)
        return T.And(one < extent, T.Or(other >= extent, T.Or(is_better, is_former)))

    with T.sblock("sort"):
        _touches(data, values, indices)
        with T.serial(int(rows)) as row:
            with _by_threads(room) as i:
                T.buffer_store(order, i, [i])
            with T.serial(steps) as size, T.serial(size + 1) as step, _by_threads(room // 2) as pair:
                stride = T.shift_left(1, size - step)
                low = 2 * pair - T.bitwise_and(pair, stride - 1)
                high = low + stride
                # Runs of 2^(size + 1): one upwards, the next downwards.
                is_upwards = T.bitwise_and(low, T.shift_left(2, size)) == 0
                is_wrong = T.if_then_else(
                    is_upwards,
                    is_before(row, order[high], order[low]),
                    is_before(row, order[low], order[high]),
                )
                with T.If(is_wrong), T.Then():
                    T.buffer_store(held, order[low], [pair])
                    T.buffer_store(order, order[high], [low])
                    T.buffer_store(order, held[pair], [high])
            with _by_threads(count) as i:
                T.buffer_store(values, data[row, order[i]], [row, i])
                T.buffer_store(indices, T.cast(order[i], str(indices.dtype)), [row, i])


def scan(
    rows: int,
    extent: int,
    columns: int,
    dtype: str,
    combine: Callable[[tirx.Expr, tirx.Expr], tirx.Expr],
    first: float,
    exclusive: bool,
    is_long: bool,
) -> tirx.PrimFunc:
    """Return the function ``(data, result)``, both [rows, extent, columns], that runs along the middle axis.

    Parameters
    ----------
    combine, first : the operation, and what it leaves as it is.
    exclusive : leave an element's own value out of its result.
    is_long : rows are a block's; else each is a thread's, and adds as ``scans.scan`` does.
    """
    pieces = 1 if not is_long else min(MOST_THREADS, -(-extent // A_THREAD))
    length = -(-extent // pieces)
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        data = T.arg("data", T.buffer((rows, extent, columns), dtype))
        result = T.arg("result", T.buffer((rows, extent, columns), dtype))
        with T.sblock("root"):
            source, target = (T.sblock_alloc_buffer((pieces,), dtype) for _ in range(2))

            def run(line: tirx.Expr, piece: tirx.Expr, running: tirx.Buffer, writes: bool) -> None:
                """Run along a piece, from what is in ``running``."""
                row, column = line // columns, line % columns
                with T.serial(length) as step:
                    at = piece * length + step
                    with T.If(at < extent), T.Then():
                        if writes and exclusive:
                            T.buffer_store(result, running[piece], [row, at, column])
                        T.buffer_store(running, combine(running[piece], data[row, at, column]), [piece])
                        if writes and not exclusive:
                            T.buffer_store(result, running[piece], [row, at, column])

            with T.sblock("scan"):
                _touches(data, result)
                with T.serial(rows * columns) as line:
                    start = tirx.const(first, dtype)
                    if pieces == 1:
                        T.buffer_store(source, start, [0])
                        run(line, tirx.const(0, "int32"), source, True)
                    else:
                        with _by_threads(pieces) as piece:
                            T.buffer_store(source, start, [piece])
                            run(line, piece, source, False)
                        distance = 1
                        while distance < pieces:
                            with _by_threads(pieces) as piece:
                                before = source[T.max(piece - distance, 0)]
                                both = combine(before, source[piece])
                                T.buffer_store(
                                    target, T.Select(piece < distance, source[piece], both), [piece]
                                )
                            source, target, distance = target, source, 2 * distance
                        with _by_threads(pieces) as piece:
                            former = source[T.max(piece - 1, 0)]
                            T.buffer_store(target, T.Select(piece == 0, start, former), [piece])
                            run(line, piece, target, True)
    return builder.get()


def _touches(data: tirx.Buffer, *results: tirx.Buffer) -> None:
    T.reads(_whole(data))
    T.writes(*(_whole(result) for result in results))
    T.sblock_attr({INDEPENDENT: 1})


def _whole(buffer: tirx.Buffer):
    return buffer[tuple(slice(0, extent) for extent in buffer.shape)]
