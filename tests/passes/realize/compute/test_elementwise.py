"""Sums, products, tables and the borders to float equal the NumPy reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest

from tests.gpu import gpu
from tvmq.passes.hub import arithmetic
from tvmq.passes.hub.arithmetic import Addend, Output
from tvmq.passes.realize.compute import elementwise
from tvmq.passes.realize.compute.epilogue import Conversion
from tvmq.targets.row import ConvertBy, TargetRow
from tvmq.targets.rows import GPU_ROWS, PORTABLE

GPU = next(row for row in GPU_ROWS if row.name == "sm_80")
SHAPES = [(1, 7), (3, 31), (2, 5, 33), (16, 4, 37), (2, 3, 24), (1, 4, 4, 64), (1, 1, 1, 1)]


@pytest.fixture(params=[PORTABLE, GPU], ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Iterator[TargetRow]:
    """These kernels have no instructions of their own: one row of CPUs and one of GPUs will do."""
    with nullcontext() if request.param is PORTABLE else gpu():
        yield request.param


def way(row: TargetRow, by: ConvertBy) -> ConvertBy:
    """Return how numbers are converted: GPUs have one way, which is tested once."""
    if row.gpu is not None and by is not next(iter(ConvertBy)):
        pytest.skip("GPUs have one way")
    return by if row.gpu is None else row.converts_by


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("by", list(ConvertBy)[:2])
def test_quantize(run_kernel, row, shape, dtype, by):
    """Half to even, also far outside of the range and at infinity."""
    rng = np.random.default_rng(0)
    low, high = arithmetic.bounds_of(dtype)
    out = Output(dtype, low + 100, low, high)
    data = (rng.integers(-400, 400, shape) * 0.25).astype(np.float32)
    data.flat[0] = np.inf
    define = partial(elementwise.quantize, scale=0.5, out=out, conversion=Conversion(way(row, by)))
    expected = arithmetic.quantize(data, np.float32(0.5), out.zero_point, dtype)
    np.testing.assert_array_equal(run_kernel(define, [data]), expected)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_dequantize_every_integer(run_kernel, dtype):
    low, high = arithmetic.bounds_of(dtype)
    data = np.arange(low, high + 1).astype(dtype).reshape(16, 16)
    define = partial(elementwise.dequantize, scale=float(np.float32(0.1)), zero_point=low + 3)
    expected = arithmetic.dequantize(data, np.float32(0.1), np.asarray(low + 3))
    np.testing.assert_array_equal(run_kernel(define, [data]), expected)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_look_up_every_integer(run_kernel, dtype):
    low, high = arithmetic.bounds_of(dtype)
    data = np.arange(low, high + 1).astype(dtype)
    table = np.random.default_rng(0).integers(0, 256, 256).astype(np.uint8)
    np.testing.assert_array_equal(run_kernel(elementwise.look_up, [data, table]), table)


@pytest.mark.parametrize(
    "shapes", [(s, s) for s in SHAPES] + [((2, 3, 4, 8), (1, 1, 1, 8)), ((4, 9), (9,))], ids=str
)
def test_add(run_kernel, shapes):
    rng = np.random.default_rng(0)
    left, right = (rng.integers(0, 256, shape).astype(np.uint8) for shape in shapes)
    (first, second), shift = arithmetic.fixed_point([0.83, -1.21])
    addends = Addend(128, first), Addend(5, second)
    out = Output("uint8", 90, 3, 250)
    total = arithmetic.weigh(left, addends[0]) + arithmetic.weigh(right, addends[1])
    define = partial(elementwise.add, addends=addends, shift=shift, out=out)
    np.testing.assert_array_equal(run_kernel(define, [left, right]), arithmetic.shift_to(total, shift, out))


@pytest.mark.parametrize("shapes", [((3, 31), (3, 31)), ((1, 6, 5, 17), (1, 1, 1, 17))], ids=str)
@pytest.mark.parametrize("by", list(ConvertBy)[:2])
def test_multiply(run_kernel, row, shapes, by):
    rng = np.random.default_rng(0)
    left, right = (rng.integers(0, 256, shape).astype(np.uint8) for shape in shapes)
    multiplier = float(np.float32(0.0047))
    out = Output("uint8", 128, 0, 255)
    product = (left.astype(np.int32) - 17) * (right.astype(np.int32) - 200)
    conversion = Conversion(way(row, by), 255 * 255, 255 * 255 * multiplier)
    define = partial(
        elementwise.multiply, zero_points=(17, 200), multiplier=multiplier, out=out, conversion=conversion
    )
    expected = arithmetic.requantize(product, np.float32(multiplier), out)
    np.testing.assert_array_equal(run_kernel(define, [left, right]), expected)


def test_move_range(run_kernel):
    data = np.arange(256).astype(np.uint8)
    define = partial(elementwise.move_range, shift=-128, dtype="int8")
    np.testing.assert_array_equal(run_kernel(define, [data]), np.arange(-128, 128).astype(np.int8))
