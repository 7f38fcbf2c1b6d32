"""Functions of several sizes become one of any size, and what is no such family does not."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import te, tirx, topi

from tvmq.passes.hub.open_dims import points_of
from tvmq.passes.hub.packing import pack_matmul
from tvmq.passes.realize.compute import contraction, product
from tvmq.passes.realize.compute.dots import Dot
from tvmq.ranges import Range
from tvmq.schedules.code import compile_kernel
from tvmq.schedules.open.rules import schedule_any
from tvmq.schedules.open.symbolic import bounds_of, unified
from tvmq.schedules.softmax import softmax
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

TARGET = parse_target("llvm -mcpu=znver3 -num-cores=1")
RANGES = {"S": Range(1, 80)}
VARS = {"S": tirx.Var("S", "int64")}
LENGTHS = (1, 2, 7, 8, 9, 31, 33, 64, 80)


def family(define, *shapes):
    """Return the function at each point; ``shapes`` make the shape of each input from a size."""

    def at(size):
        given = [
            te.placeholder(shape(size), "float32", name=f"x{place}") for place, shape in enumerate(shapes)
        ]
        return te.create_prim_func([*given, define(*given)], index_dtype_override="int64")

    points = points_of(RANGES)
    return unified([at(point["S"]) for point in points], points, VARS, RANGES)


def kernel_of(func):
    made = schedule_any(func, row_of(TARGET), bounds_of(VARS, RANGES), 1)
    assert made.attrs["tirx.is_scheduled"]
    return compile_kernel(
        tirx.PrimFunc([*made.params, *VARS.values()], made.body, made.ret_type, made.attrs), TARGET
    )["main"]


def run(kernel, shape, size, *arrays):
    out = tvm.runtime.tensor(np.full(shape, 77, np.float32))
    kernel(*map(tvm.runtime.tensor, arrays), out, size)
    return out.numpy()


def random(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def test_softmax_along_an_open_axis():
    kernel = kernel_of(family(lambda x: softmax(x, 8, any_extent=True), lambda s: (3, s, s)))
    for size in LENGTHS:
        x = random(3, size, size)
        power = np.exp(x - x.max(-1, keepdims=True))
        expected = power / power.sum(-1, keepdims=True)
        np.testing.assert_allclose(run(kernel, x.shape, size, x), expected, atol=2e-6)


@pytest.mark.parametrize("is_scores", [True, False])
def test_products_of_open_matrices(is_scores):
    dot = Dot(8, 1, "float32", "float32", weight_dtype="float32", any_extent=True)

    def define(a, b):
        return topi.multiply(product.matmul(a, b, dot=dot), te.const(0.5, "float32"))

    shapes = (
        (lambda s: (2, s, 16), lambda s: (2, 16, s))
        if is_scores
        else (lambda s: (2, s, s), lambda s: (2, s, 16))
    )
    kernel = kernel_of(family(define, *shapes))
    for size in LENGTHS:
        a, b = (random(*shape(size)) for shape in shapes)
        expected = 0.5 * (a.astype(np.float64) @ b)
        # Each product and sum rounds once.
        np.testing.assert_allclose(run(kernel, expected.shape, size, a, b), expected, atol=80 * 2e-6)


def test_products_with_weights():
    """As where no parts of fixed size would do: three blocks of columns, of which no tile has two."""
    dot = Dot(8, 1, "float32", "float32", weight_dtype="float32", any_extent=True)
    weight = random(16, 24)
    packed = tvm.runtime.tensor(pack_matmul(weight, 8, 1))

    def at(size):
        x = te.placeholder((size, 16), "float32", name="x")
        w = te.placeholder(packed.shape, "float32", name="w")
        return te.create_prim_func(
            [x, w, contraction.matmul(x, w, out_channels=24, dot=dot)], index_dtype_override="int64"
        )

    points = points_of(RANGES)
    kernel = kernel_of(unified([at(point["S"]) for point in points], points, VARS, RANGES))
    for size in LENGTHS:
        x, out = random(size, 16), tvm.runtime.tensor(np.full((size, 24), 77, np.float32))
        kernel(tvm.runtime.tensor(x), packed, out, size)
        np.testing.assert_allclose(out.numpy(), x.astype(np.float64) @ weight, atol=16 * 2e-6)


def test_sums_means_and_what_lies_in_one_axis():
    kernel = kernel_of(family(lambda x: topi.sum(x, axis=0), lambda s: (s, 24)))
    mean = kernel_of(
        family(
            lambda x: te.compute(
                (24,), lambda i: topi.sum(x, axis=0)[i] * te.const(1 / int(x.shape[0]), "float32")
            ),
            lambda s: (s, 24),
        )
    )
    add = kernel_of(family(lambda x, y: topi.add(x, y), lambda s: (3, s), lambda s: (s,)))
    for size in LENGTHS:
        x, y = random(size, 24), random(size)
        np.testing.assert_allclose(run(kernel, (24,), size, x), x.sum(0), atol=1e-4)
        np.testing.assert_allclose(run(mean, (24,), size, x), x.mean(0), atol=1e-5)
        z = random(3, size)
        np.testing.assert_array_equal(run(add, (3, size), size, z, y), z + y)


def test_what_is_no_family():
    assert (
        family(lambda x: topi.nn.relu(x) if int(x.shape[0]) % 2 else topi.abs(topi.abs(x)), lambda s: (s,))
        is None
    )
    squares = family(lambda x: te.compute((int(x.shape[0]) ** 2 + 1,), lambda i: x[i % 4]), lambda s: (s,))
    assert squares is None
