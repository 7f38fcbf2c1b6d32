"""The order of rows and running sums, beside NumPy, around odd extents."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import tvm

from tvmq.passes.realize.compute.scans import order, scan


def _run(func: tvm.tirx.PrimFunc, data: np.ndarray, *outputs: np.ndarray) -> list[np.ndarray]:
    results = [tvm.runtime.tensor(out) for out in outputs]
    tvm.compile(func.with_attr("global_symbol", "main"), target="llvm")["main"](
        tvm.runtime.tensor(data), *results
    )
    return [result.numpy() for result in results]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize(("extent", "count"), [(1, 1), (2, 2), (7, 3), (8, 8), (33, 20)])
def test_order_is_stable(extent: int, count: int, descending: bool) -> None:
    data = np.random.default_rng(extent).integers(0, 5, (3, extent)).astype("float32")  # many equals
    func = order(3, extent, count, "float32", "int64", descending)
    values, indices = _run(func, data, np.zeros((3, count), "float32"), np.zeros((3, count), "int64"))
    expected = np.argsort(-data if descending else data, axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(data, expected, 1))


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("kind", ["random", "ascending", "descending"])
@pytest.mark.parametrize(("extent", "count"), [(65, 1), (129, 3), (300, 40), (700, 10)])
def test_few_of_many(extent: int, count: int, kind: str, descending: bool) -> None:
    data = np.random.default_rng(extent).integers(0, extent, (2, extent)).astype("float32")
    if kind != "random":
        data.sort()
    if kind == "descending":
        data = np.ascontiguousarray(data[:, ::-1])
    func = order(2, extent, count, "float32", "int64", descending)
    values, indices = _run(func, data, np.zeros((2, count), "float32"), np.zeros((2, count), "int64"))
    expected = np.argsort(-data if descending else data, axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(data, expected, 1))


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize(
    ("combine", "first", "accumulate"), [(operator.add, 0, np.cumsum), (operator.mul, 1, np.cumprod)]
)
def test_scan(combine, first: int, accumulate, exclusive: bool) -> None:
    data = np.random.default_rng(0).integers(-3, 4, (2, 7, 5)).astype("int32")
    (result,) = _run(scan(2, 7, 5, "int32", combine, first, exclusive), data, np.zeros_like(data))
    expected = accumulate(data, axis=1, dtype="int32")
    if exclusive:
        expected = np.concatenate([np.full((2, 1, 5), first, "int32"), expected[:, :-1]], 1)
    np.testing.assert_array_equal(result, expected)
