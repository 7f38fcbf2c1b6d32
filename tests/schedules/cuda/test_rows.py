"""Kernels that work row by row: short and long rows, several reductions of a row, and what is none of theirs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tvm import te, tirx

from tvmq.schedules.cuda.definition import Step, read
from tvmq.schedules.cuda.kernels import cuda_kernel
from tvmq.schedules.cuda.rows import LONG_ROW, SHORT_ROW, rows_of
from tvmq.schedules.norms import Norm
from tvmq.schedules.norms import normalized as norm_of_rows

from .te_kernels import ROW, launches, placeholder, run

pytestmark = pytest.mark.usefixtures("gpu_compiler")

LENGTHS = [17, 32, 33, 257, LONG_ROW - 1, LONG_ROW, 3001]
TOLERANCE = 2.0**-22
"""Of a sum of numbers below 1, relative: its additions are a tree of at most 3001 / 32 + 8 steps, errors are random."""


def _max(number: tirx.Expr, axis: te.IterVar) -> tirx.Expr:
    reducer = te.comm_reducer(lambda x, y: tirx.max(x, y), lambda dtype: tirx.const(-math.inf, dtype))
    return reducer(number, axis=axis)


def softmax(rows: int, length: int) -> tirx.PrimFunc:
    x = placeholder((rows, length))
    k, j = te.reduce_axis((0, length), "k"), te.reduce_axis((0, length), "j")
    most = te.compute((rows,), lambda i: _max(x(i, k), k), "most")
    total = te.compute((rows,), lambda i: te.sum(te.exp(x(i, j) - most(i)), axis=j), "total")
    return te.create_prim_func(
        [x, te.compute(x.shape, lambda i, c: te.exp(x(i, c) - most(i)) / total(i), "softmax")]
    )


def normalized(rows: int, length: int) -> tirx.PrimFunc:
    """Of mean 0 and variance 1."""
    x = placeholder((rows, length))
    k, j = te.reduce_axis((0, length), "k"), te.reduce_axis((0, length), "j")
    share = tirx.const(1 / length, "float32")
    mean = te.compute((rows,), lambda i: te.sum(x(i, k), axis=k), "mean")
    offset = te.compute(x.shape, lambda i, c: x(i, c) - mean(i) * share, "offset")
    squares = te.compute((rows,), lambda i: te.sum(offset(i, j) * offset(i, j), axis=j), "squares")
    return te.create_prim_func(
        [x, te.compute(x.shape, lambda i, c: offset(i, c) / te.sqrt(squares(i) * share + 1e-5), "norm")]
    )


@pytest.mark.parametrize("length", LENGTHS)
def test_softmax_is_one_kernel(length: int) -> None:
    x = np.random.default_rng(0).normal(0, 3, (5, length)).astype(np.float32)
    func = softmax(5, length)
    (launch,) = launches(cuda_kernel(func, ROW))
    assert launch["blockIdx.x"] == (5 if length >= LONG_ROW else 2)
    exponents = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    expected = exponents / exponents.sum(1, keepdims=True)
    np.testing.assert_allclose(run(func, x), expected, rtol=8 * TOLERANCE)


@pytest.mark.parametrize("length", [17, 100, 768, LONG_ROW + 5])
def test_normalization_is_one_kernel(length: int) -> None:
    x = np.random.default_rng(1).normal(3, 2, (6, length)).astype(np.float32)
    func = normalized(6, length)
    assert len(launches(cuda_kernel(func, ROW))) == 1
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(run(func, x), expected, atol=32 * TOLERANCE)


@pytest.mark.parametrize("is_centred", [True, False])
@pytest.mark.parametrize("shape", [(6, 100), (2, 3, 4, 49), (4, LONG_ROW + 5)], ids=str)
def test_the_norms_of_models_are_one_kernel(shape: tuple[int, ...], is_centred: bool) -> None:
    lead = max(1, len(shape) - 2)
    x, weight = (
        np.random.default_rng(seed).normal(3, 2, of).astype(np.float32)
        for seed, of in enumerate((shape, shape[lead:]))
    )
    data, gamma, beta = placeholder(shape), placeholder(weight.shape), placeholder(weight.shape)
    result = norm_of_rows(data, gamma, beta, norm=Norm(lead, 1e-5, is_centred), lanes=1)
    func = te.create_prim_func([data, gamma, beta, result])
    assert len(launches(cuda_kernel(func, ROW))) == 1
    wide = x.astype(np.float64)
    axes = tuple(range(lead, len(shape)))
    wide = wide - wide.mean(axes, keepdims=True) if is_centred else wide
    expected = wide / np.sqrt((wide**2).mean(axes, keepdims=True) + 1e-5) * weight + weight
    np.testing.assert_allclose(run(func, x, weight, weight), expected, atol=128 * TOLERANCE)


@pytest.mark.parametrize(("rows", "length"), [(1, 20), (3, 129), (4, 64), (5, 20), (5, 2000)])
def test_rows_of_integers_that_are_no_multiple_of_a_block(rows: int, length: int) -> None:
    x = np.random.default_rng(2).integers(-128, 128, (rows, length)).astype(np.int8)
    data = placeholder(x.shape, "int8")
    k = te.reduce_axis((0, length), "k")
    total = te.compute((rows,), lambda i: te.sum(data(i, k).astype("int32"), axis=k), "total")
    result = run(te.create_prim_func([data, total]), x)
    np.testing.assert_array_equal(result, x.sum(1, dtype=np.int32))


def test_two_axes_of_a_row_are_one_row() -> None:
    x = np.random.default_rng(3).integers(-9, 9, (3, 5, 7)).astype(np.int32)
    data = placeholder(x.shape, "int32")
    axes = [te.reduce_axis((0, 5), "a"), te.reduce_axis((0, 7), "b")]
    total = te.compute((3,), lambda i: te.sum(data(i, *axes), axis=axes), "total")
    np.testing.assert_array_equal(run(te.create_prim_func([data, total]), x), x.sum((1, 2)))


def test_a_start_is_added_once() -> None:
    data = placeholder((3, 64), "int32")
    k = te.reduce_axis((0, 64), "k")
    reducer = te.comm_reducer(lambda x, y: x + y, lambda dtype: tirx.const(7, dtype))
    total = te.compute((3,), lambda i: reducer(data(i, k), axis=k), "total")
    np.testing.assert_array_equal(
        run(te.create_prim_func([data, total]), np.ones((3, 64), np.int32)), [71] * 3
    )


def steps_of(*tensors: te.Tensor) -> tuple[list[Step], Step]:
    *reductions, result = read(te.create_prim_func(list(tensors))).steps
    return reductions, result


def total_of(x: te.Tensor, dtype: str = "float32", along: int = 1) -> te.Tensor:
    k = te.reduce_axis((0, x.shape[along]), "k")
    return te.compute(
        (x.shape[1 - along],),
        lambda i: te.sum((x(i, k) if along else x(k, i)).astype(dtype), axis=k),
        "total",
    )


def difference(columns: int = 64, dtype: str = "float32", along: int = 1) -> list[te.Tensor]:
    """Of each number and the total of its row, or of its column."""
    x = placeholder((64, columns))
    total = total_of(x, dtype, along)
    return [
        x, te.compute(x.shape, lambda i, j: x(i, j) - total(i if along else j).astype("float32"), "result")
    ]  # fmt: skip


def test_rows_that_are_none() -> None:
    assert rows_of(*steps_of(*difference())) is not None
    assert rows_of(*steps_of(*difference(along=0))) is None  # of columns
    assert rows_of(*steps_of(*difference(columns=SHORT_ROW))) is None
    assert rows_of(*steps_of(*difference(dtype="float64"))) is None  # no shuffle takes them
    x = placeholder((64, 64))
    total = total_of(x)
    of_another = te.compute(x.shape, lambda i, j: total(i) - total(63 - i), "result")
    assert rows_of(*steps_of(x, of_another)) is None


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_sums_that_are_read_at_several_places(dtype: str) -> None:
    x = np.random.default_rng(4).integers(-9, 9, (8, 64)).astype(dtype)
    data = placeholder(x.shape, dtype)
    total = total_of(data, dtype)
    result = te.compute((8,), lambda i: total(i) - total(7 - i), "result")
    func = te.create_prim_func([data, result])
    assert len(launches(cuda_kernel(func, ROW))) == 2
    np.testing.assert_array_equal(run(func, x), x.sum(1) - x.sum(1)[::-1])
