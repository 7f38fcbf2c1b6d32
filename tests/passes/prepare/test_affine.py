"""What counts as scaling and shifting by constants, and per channel."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.graph import bindings_of, shape_of
from tvmq.passes.prepare.affine import as_affine, bias_constant, per_channel

from ..modules import const, module, random


def _affine(make):
    mod = module({"x": (2, 3, 4, 5)}, lambda b, x: b.add(make(x)))
    return as_affine(bindings_of(mod)[0].value)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda x, c: relax.op.add(x, c), lambda x, c: x + c),
        (lambda x, c: relax.op.add(c, x), lambda x, c: x + c),
        (lambda x, c: relax.op.subtract(x, c), lambda x, c: x - c),
        (lambda x, c: relax.op.subtract(c, x), lambda x, c: c - x),
        (lambda x, c: relax.op.multiply(x, c), lambda x, c: x * c),
        (lambda x, c: relax.op.multiply(c, x), lambda x, c: x * c),
        (lambda x, c: relax.op.divide(x, c), lambda x, c: x / c),
    ],
)
def test_affine(make, expected):
    affine = _affine(lambda x: make(x, const(3, 1, 1)))
    data, operand = random(2, 3, 4, 5).astype(np.float64), random(3, 1, 1, seed=1).astype(np.float64)
    np.testing.assert_allclose(data * affine.scale + affine.shift, expected(data, operand), rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: relax.op.divide(const(3, 1, 1), x),
        lambda x: relax.op.divide(x, relax.const(np.array([1, 0, 1, 1, 1], "float32"))),
        lambda x: relax.op.add(x, x),
        lambda x: relax.op.add(x, const(1, 1, 1, 1, 1)),  # one more axis
        lambda x: relax.op.maximum(x, const(3, 1, 1)),
    ],
)
def test_not_affine(make):
    assert _affine(make) is None


def test_widening_a_shape_is_not_affine():
    mod = module({"x": (1, 3)}, lambda b, x: b.add(relax.op.add(x, const(4, 1))))
    assert as_affine(bindings_of(mod)[0].value) is None


def test_per_channel():
    shape = (2, 3, 4, 5)
    assert per_channel(np.array(2.0), shape, 1).tolist() == [2, 2, 2]
    assert per_channel(np.arange(3.0).reshape(3, 1, 1), shape, 1).tolist() == [0, 1, 2]
    assert per_channel(np.arange(5.0), shape, -1).tolist() == [0, 1, 2, 3, 4]
    assert per_channel(np.arange(5.0), shape, 1) is None
    assert per_channel(np.ones((1, 3, 4, 1)), shape, 1) is None


@pytest.mark.parametrize(("rank", "axis", "shape"), [(4, 1, (1, 3, 1, 1)), (2, -1, (3,)), (3, -1, (3,))])
def test_bias_constant(rank, axis, shape):
    assert shape_of(bias_constant(np.arange(3.0), rank, axis)) == shape
