"""Statements shared out among the threads of a block: where barriers are, what lies where, and the numbers."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from tvmq.passes.realize.compute.annotations import BY_THREADS, INDEPENDENT
from tvmq.passes.realize.compute.team_scans import order, scan
from tvmq.schedules.cuda.kernels import cuda_kernel

from .te_kernels import ROW, launches, run

pytestmark = pytest.mark.usefixtures("gpu_compiler")


def by_threads(extent: int):
    return T.serial(extent, annotations={BY_THREADS: 1})


def function(rows: int, extent: int, first: int, shift: int) -> tirx.PrimFunc:
    """``own[j] = data[r, j]``, then from ``first`` on ``result[r, j] = own[j - shift]``, each shared out."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        data, result = (T.arg(name, T.buffer((rows, extent), "int32")) for name in ("data", "result"))
        with T.sblock("root"):
            own = T.sblock_alloc_buffer((extent,), "int32")
            with T.sblock("moves"):
                T.reads(data[0:rows, 0:extent])
                T.writes(result[0:rows, 0:extent])
                T.sblock_attr({INDEPENDENT: 1})
                with T.serial(rows) as row:
                    with by_threads(extent) as j:
                        T.buffer_store(own, data[row, j], [j])
                    with T.serial(first, extent, annotations={BY_THREADS: 1}) as j:
                        T.buffer_store(result, own[j - shift], [row, j])
    return builder.get()


def barriers(func: tirx.PrimFunc) -> int:
    return str(cuda_kernel(func, ROW)).count("tvmq_barrier")


@pytest.mark.parametrize(
    ("first", "shift", "expected"),
    [(0, 0, 0), (1, 1, 1), (1, 0, 1)],
    ids=["each thread its own", "its neighbour's", "shared out from elsewhere"],
)
@pytest.mark.parametrize("extent", [31, 33, 1500])
def test_a_barrier_stands_where_threads_read_what_others_wrote(
    extent: int, first: int, shift: int, expected: int
) -> None:
    func = function(3, extent, first, shift)
    assert barriers(func) == expected
    data = np.random.default_rng(0).integers(-99, 99, (3, extent)).astype(np.int32)
    result = run(func, data)
    np.testing.assert_array_equal(result[:, first:], data[:, first - shift : extent - shift])


def test_a_block_for_each_step_and_a_thread_for_each_element() -> None:
    (launch,) = launches(cuda_kernel(function(3, 33, 0, 0), ROW))
    assert launch == {"blockIdx.x": 3, "threadIdx.x": 64}
    (launch,) = launches(cuda_kernel(function(3, 3000, 0, 0), ROW))
    assert launch == {"blockIdx.x": 3, "threadIdx.x": 1024}


@pytest.mark.parametrize(("extent", "scope"), [(12_000, "shared"), (12_300, "global")])
def test_what_is_too_large_for_shared_memory_lies_in_global(extent: int, scope: str) -> None:
    func = function(2, extent, 1, 1)
    assert (
        'scope="shared"' in str(cuda_kernel(func, ROW)) or "alloc_shared" in str(cuda_kernel(func, ROW))
    ) == (scope == "shared")
    data = np.arange(2 * extent, dtype=np.int32).reshape(2, extent)
    np.testing.assert_array_equal(run(func, data)[:, 1:], data[:, :-1])


@pytest.mark.parametrize(("dtype", "is_exclusive"), [("float32", False), ("int64", True)])
@pytest.mark.parametrize(
    ("shape", "is_long"),
    [((1, 1, 1), False), ((2, 7, 5), False), ((3, 65, 1), True), ((1, 1000, 2), True), ((1, 9001, 1), True)],
    ids=str,
)
def test_scan(shape: tuple[int, int, int], is_long: bool, is_exclusive: bool, dtype: str) -> None:
    data = np.random.default_rng(1).integers(-9, 9, shape).astype(dtype)
    expected = np.cumsum(data, 1) - (data if is_exclusive else 0)
    result = run(scan(*shape, dtype, operator.add, 0, is_exclusive, is_long), data)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("dtype", "descending"), [("float32", True), ("int64", False)])
@pytest.mark.parametrize(
    ("rows", "extent", "count"),
    [(1, 64, 1), (3, 65, 32), (2, 1000, 5), (2, 64, 64), (3, 65, 33), (1, 9000, 40)],
    ids=str,
)
def test_order(rows: int, extent: int, count: int, dtype: str, descending: bool) -> None:
    """Of equal numbers the former comes first."""
    data = np.random.default_rng(2).integers(0, 50, (rows, extent)).astype(dtype)
    keys = -data.astype(np.int64) if descending else data
    expected = np.argsort(keys, axis=1, kind="stable")[:, :count]
    func = order(rows, extent, count, dtype, "int64", descending)
    values, indices = run(func, data)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(data, expected, 1))


@pytest.mark.parametrize("count", [5, 40])
def test_indices_are_within_the_row_where_it_has_nan(count: int) -> None:
    data = np.full((1, 100), np.nan, np.float32)
    data[0, 3] = 1
    _, indices = run(order(1, 100, count, "float32", "int64", True), data)
    assert indices.min() >= 0 and indices.max() < 100
    if count == 5:
        assert indices[0, 0] == 3
