"""The kernel of ONNX's Det: Gaussian elimination with the largest pivot of each column.

det(a) = product of the pivots, its sign turned at each exchange of rows
"""

from __future__ import annotations

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T


def determinant(batch: int, size: int, dtype: str) -> tirx.PrimFunc:
    """Return the function ``(matrices [batch, size, size], determinants [batch])``."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        matrices = T.arg("matrices", T.buffer((batch, size, size), dtype))
        result = T.arg("result", T.buffer((batch,), dtype))
        with T.sblock("root"):
            rest = T.sblock_alloc_buffer((size, size), dtype)
            pivot = T.sblock_alloc_buffer((1,), "int32")
            with T.sblock("determinant"):
                T.reads(matrices[0:batch, 0:size, 0:size])
                T.writes(result[0:batch])
                with T.serial(batch) as at:
                    with T.serial(size) as row, T.serial(size) as column:
                        T.buffer_store(rest, matrices[at, row, column], [row, column])
                    T.buffer_store(result, tirx.const(1, dtype), [at])
                    with T.serial(size) as step:
                        _eliminate(rest, pivot, result, at, step, size, dtype)
    return builder.get()


def _eliminate(
    rest: tirx.Buffer,
    pivot: tirx.Buffer,
    result: tirx.Buffer,
    at: tirx.Expr,
    step: tirx.Expr,
    size: int,
    dtype: str,
) -> None:
    T.buffer_store(pivot, step, [0])
    with T.serial(size - step) as below:
        row = step + below
        with T.If(T.abs(rest[row, step]) > T.abs(rest[pivot[0], step])), T.Then():
            T.buffer_store(pivot, row, [0])
    with T.If(pivot[0] != step), T.Then():
        T.buffer_store(result, -result[at], [at])
        with T.serial(size) as column:
            kept = T.Bind(rest[step, column])
            T.buffer_store(rest, rest[pivot[0], column], [step, column])
            T.buffer_store(rest, kept, [pivot[0], column])
    T.buffer_store(result, result[at] * rest[step, step], [at])
    with T.If(rest[step, step] != tirx.const(0, dtype)), T.Then(), T.serial(size - 1 - step) as below:
        row = step + 1 + below
        factor = T.Bind(rest[row, step] / rest[step, step])
        with T.serial(size - step) as behind:
            column = step + behind
            T.buffer_store(rest, rest[row, column] - factor * rest[step, column], [row, column])
