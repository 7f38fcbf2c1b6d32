"""Products of two activations equal the NumPy reference, on every row, at sizes around the tiles' tails."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tvmq.passes.hub import arithmetic
from tvmq.passes.hub.arithmetic import Output
from tvmq.passes.realize.compute import product
from tvmq.passes.realize.compute.dots import Dot
from tvmq.passes.realize.compute.epilogue import Conversion, Dequantize, Requantize

from .conftest import in_turn

OUT = Output("uint8", 11, 13, 251)

SHAPES = [
    ((2, 17, 16), (2, 16, 33)),
    ((9, 7), (7, 5)),
    ((3, 1, 6, 10), (4, 10, 16)),  # both broadcast
    ((2, 3, 5), (5, 4)),
    ((8, 12), (2, 12, 19)),
    ((1, 64), (64, 47)),
]


def requantized(row):
    return Requantize(OUT, Conversion(row.converts_by))


def dot_of(row):
    dot = row.any_dot
    return Dot(dot.lanes, dot.depth, dot.data_dtype)


@pytest.mark.parametrize(
    ("shapes", "kind", "zero_points"),
    in_turn(SHAPES, ["requantize", "dequantize"], [(0, 128), (7, 90)]),
    ids=str,
)
def test_integers(run_kernel, row, shapes, kind, zero_points):
    rng = np.random.default_rng(0)
    low = np.iinfo(row.activation_dtype).min
    data, other = ((rng.integers(0, 256, shape) + low).astype(row.activation_dtype) for shape in shapes)
    zero, other_zero = zero_points = tuple(point + low for point in zero_points)
    columns = run_kernel(
        partial(product.column_offsets, zero_points=zero_points, inner=data.shape[-1]), [other]
    )
    offsets = [columns]
    if other_zero != 128 + low:
        offsets.append(run_kernel(partial(product.row_offsets, other_zero=other_zero - 128 - low), [data]))
    total = arithmetic.matmul_accumulator(data.astype(np.int16) - zero, other.astype(np.int16) - other_zero)
    multiplier = 0.0003
    if kind == "requantize":
        epilogue, expected = (
            requantized(row),
            arithmetic.requantize(total, np.float32(multiplier), OUT),
        )
    else:
        epilogue, expected = Dequantize(), total.astype(np.float32) * np.float32(multiplier)
    define = partial(
        product.integer_matmul, multiplier=float(np.float32(multiplier)), dot=dot_of(row), epilogue=epilogue
    )
    np.testing.assert_array_equal(run_kernel(define, [data, other, *offsets]), expected)


@pytest.mark.parametrize(("shapes", "threads"), in_turn(SHAPES, [1, 2]), ids=str)
def test_floats(run_kernel, row, shapes, threads):
    rng = np.random.default_rng(0)
    data, other = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    define = partial(
        product.matmul, dot=Dot(row.vector_bits // 32, 1, "float32", "float32", weight_dtype="float32")
    )
    result = run_kernel(define, [data, other], threads)
    np.testing.assert_allclose(result, data @ other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("data", "other", "batch"),
    [((2, 3), (3, 4), ()), ((5, 2, 3), (3, 4), (5,)), ((5, 1, 2, 3), (6, 3, 4), (5, 6))],
)
def test_leading_axes_broadcast(data, other, batch):
    assert product.batch_of(data, other) == batch
