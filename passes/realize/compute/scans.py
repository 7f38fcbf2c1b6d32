"""Kernels whose steps depend on each other: the order of a row, and running sums and products.

    order:  values[r, j], indices[r, j] = the j-th of row r, the larger (or the smaller) first, of equals the former
    scan:   result[r, i] = data[r, 0] op .. op data[r, i]

A row is ordered by merging, bottom up: n * log2(n) comparisons. Where few numbers are wanted (k), twice as many are
kept as candidates: a number that the k-th best beats is none, and when there is room for no more, the best k stay. That
takes n * log2(2 * k) comparisons at most, and little more than n of most rows.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from .annotations import INDEPENDENT

CANDIDATES = 32
"""Room for at least so many: a row is not ordered again for each of them."""


def order(
    rows: int, extent: int, count: int, dtype: str, index_dtype: str, descending: bool
) -> tirx.PrimFunc:
    """Return the function ``(data [rows, extent], values [rows, count], indices [rows, count])``.

    Parameters
    ----------
    count : how many of each row's elements are wanted.
    dtype, index_dtype : of the data and of the indices.
    """
    room = max(2 * count, CANDIDATES)
    if 2 * room > extent:
        room = extent
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        data = T.arg("data", T.buffer((rows, extent), dtype))
        values = T.arg("values", T.buffer((rows, count), dtype))
        indices = T.arg("indices", T.buffer((rows, count), index_dtype))
        with T.sblock("root"):
            merged = T.sblock_alloc_buffer((room,), "int32")
            spare = T.sblock_alloc_buffer((room,), "int32")
            cursors = T.sblock_alloc_buffer((2,), "int32")
            filled = T.sblock_alloc_buffer((1,), "int32")
            bound = T.sblock_alloc_buffer((1,), dtype)

            def keep_best(row: tirx.Var) -> None:
                _sort(data, row, merged, spare, cursors, filled[0], descending)
                T.buffer_store(filled, count, [0])
                T.buffer_store(bound, data[row, merged[count - 1]], [0])

            with T.sblock("order"):
                T.reads(data[0:rows, 0:extent])
                T.writes(values[0:rows, 0:count], indices[0:rows, 0:count])
                T.sblock_attr({INDEPENDENT: 1})
                with T.serial(rows) as row:
                    with T.serial(room) as i:
                        T.buffer_store(merged, i, [i])
                    T.buffer_store(filled, room, [0])
                    keep_best(row)
                    if room < extent:
                        with T.serial(room, extent) as i:
                            value = data[row, i]
                            is_beaten = value <= bound[0] if descending else value >= bound[0]
                            with T.If(T.Not(is_beaten)), T.Then():
                                T.buffer_store(merged, i, [filled[0]])
                                T.buffer_store(filled, filled[0] + 1, [0])
                                with T.If(filled[0] == room), T.Then():
                                    keep_best(row)
                        keep_best(row)
                    with T.serial(count) as i:
                        T.buffer_store(values, data[row, merged[i]], [row, i])
                        T.buffer_store(indices, T.cast(merged[i], index_dtype), [row, i])
    return builder.get()


def _sort(
    data: tirx.Buffer,
    row: tirx.Var,
    merged: tirx.Buffer,
    spare: tirx.Buffer,
    cursors: tirx.Buffer,
    extent: tirx.Expr,
    descending: bool,
) -> None:
    """Order the first ``extent`` indices in ``merged``."""
    room = int(merged.shape[0])
    source, target, width = merged, spare, 1
    while width < room:
        _merge_runs(data, row, source, target, cursors, extent, width, descending)
        source, target = target, source
        width *= 2
    if source is not merged:
        with T.serial(extent) as i:
            T.buffer_store(merged, source[i], [i])


def _merge_runs(
    data: tirx.Buffer,
    row: tirx.Var,
    source: tirx.Buffer,
    target: tirx.Buffer,
    cursors: tirx.Buffer,
    extent: tirx.Expr,
    width: int,
    descending: bool,
) -> None:
    """Merge each two neighbouring ordered runs of ``width`` indices in ``source`` to one in ``target``."""
    with T.serial((extent + 2 * width - 1) // (2 * width)) as pair:
        begin = pair * 2 * width
        middle, end = T.min(begin + width, extent), T.min(begin + 2 * width, extent)
        T.buffer_store(cursors, begin, [0])
        T.buffer_store(cursors, middle, [1])
        with T.serial(end - begin) as step:
            # A cursor behind the end reads some index that is there, and its comparison does not count.
            first = data[row, source[T.min(cursors[0], extent - 1)]]
            second = data[row, source[T.min(cursors[1], extent - 1)]]
            is_before = second > first if descending else second < first
            takes_second = T.And(cursors[1] < end, T.Or(cursors[0] >= middle, is_before))
            with T.If(takes_second):
                with T.Then():
                    T.buffer_store(target, source[cursors[1]], [begin + step])
                    T.buffer_store(cursors, cursors[1] + 1, [1])
                with T.Else():
                    T.buffer_store(target, source[cursors[0]], [begin + step])
                    T.buffer_store(cursors, cursors[0] + 1, [0])


def scan(
    rows: int,
    extent: int,
    columns: int,
    dtype: str,
    combine: Callable[[tirx.Expr, tirx.Expr], tirx.Expr],
    first: float,
    exclusive: bool,
) -> tirx.PrimFunc:
    """Return the function ``(data, result)``, both [rows, extent, columns], that runs along the middle axis.

    Parameters
    ----------
    combine, first : the operation, and what it leaves as it is.
    exclusive : leave an element's own value out of its result.
    """
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        data = T.arg("data", T.buffer((rows, extent, columns), dtype))
        result = T.arg("result", T.buffer((rows, extent, columns), dtype))
        with T.sblock("root"):
            running = T.sblock_alloc_buffer((columns,), dtype)
            with T.sblock("scan"):
                T.reads(data[0:rows, 0:extent, 0:columns])
                T.writes(result[0:rows, 0:extent, 0:columns])
                T.sblock_attr({INDEPENDENT: 1})
                with T.serial(rows) as row:
                    with T.serial(columns) as column:
                        T.buffer_store(running, tirx.const(first, dtype), [column])
                    with T.serial(extent) as i, T.serial(columns) as column:
                        if exclusive:
                            T.buffer_store(result, running[column], [row, i, column])
                        total = combine(running[column], data[row, i, column])
                        T.buffer_store(running, total, [column])
                        if not exclusive:
                            T.buffer_store(result, running[column], [row, i, column])
    return builder.get()
