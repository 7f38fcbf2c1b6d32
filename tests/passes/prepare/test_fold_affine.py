"""What follows a weighted operator goes into its weights and bias."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.graph import bindings_of, layer_name, shape_of, to_numpy
from tvmq.passes.prepare.fold_affine import FoldAffine

from ..modules import assert_close, calls, const, module, operators, random


def _conv(b, x, **attrs):
    return b.add(relax.op.nn.conv2d(x, const(8, 4, 3, 3), padding=1, **attrs), "conv")


def _per_channel(*shape):
    return relax.const(np.abs(random(*shape, seed=3)) + np.float32(0.5))


MULTIPLY = (lambda x, c: relax.op.multiply(x, c), (8, 1, 1))
ADD = (lambda x, c: relax.op.add(x, c), (1, 8, 1, 1))
SWAPPED_ADD = (lambda x, c: relax.op.add(c, x), (8, 1, 1))
SUBTRACT = (lambda x, c: relax.op.subtract(c, x), (8, 1, 1))
DIVIDE = (lambda x, c: relax.op.divide(x, c), ())


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([MULTIPLY], ["conv2d"]),
        ([ADD], ["conv2d", "add"]),
        ([SWAPPED_ADD], ["conv2d", "add"]),
        ([ADD, ADD], ["conv2d", "add"]),
        ([ADD, MULTIPLY, ADD, DIVIDE, SUBTRACT], ["conv2d", "add"]),
    ],
)
def test_conv(steps, expected):
    def body(b, x):
        value = _conv(b, x)
        for make, shape in steps:
            value = b.add(make(value, _per_channel(*shape)))
        return value

    mod = module({"x": (2, 4, 5, 6)}, body)
    new = FoldAffine()(mod)
    assert operators(new) == expected
    named = [layer_name(binding.value) for binding in bindings_of(new)][: len(expected)]
    assert named == ["conv"] * len(expected)  # the bias belongs to the convolution
    if "add" in expected:
        assert shape_of(calls(new, "add")[0].args[1]) == (1, 8, 1, 1)
    assert_close(mod, new, 36)


def test_the_weights_are_scaled_by_filter():
    scale = _per_channel(8, 1, 1)
    mod = module({"x": (1, 4, 5, 6)}, lambda b, x: b.add(relax.op.multiply(_conv(b, x), scale)))
    weight = to_numpy(calls(FoldAffine()(mod), "nn.conv2d")[0].args[1])
    expected = random(8, 4, 3, 3, seed=1).astype(np.float64) * to_numpy(scale).reshape(8, 1, 1, 1)
    np.testing.assert_array_equal(weight, expected.astype(np.float32))


def test_depthwise():
    def body(b, x):
        conv = b.add(relax.op.nn.conv2d(x, const(8, 1, 3, 3), groups=8))
        return b.add(relax.op.multiply(conv, _per_channel(8, 1, 1)))

    mod = module({"x": (1, 8, 5, 6)}, body)
    new = FoldAffine()(mod)
    assert operators(new) == ["conv2d"]
    assert_close(mod, new, 9)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_matmul(shape):
    def body(b, x):
        value = b.add(relax.op.matmul(x, const(4, 6)))
        return b.add(relax.op.add(b.add(relax.op.multiply(value, _per_channel(6))), _per_channel(1, 6)))

    mod = module({"x": shape}, body)
    new = FoldAffine()(mod)
    assert operators(new) == ["matmul", "add"]
    assert shape_of(calls(new, "add")[0].args[1]) == (6,)
    assert_close(mod, new, 4)


def test_a_bias_in_place_is_left_as_it_is():
    def body(b, x):
        return b.add(relax.op.add(_conv(b, x), _per_channel(1, 8, 1, 1)), "conv")

    mod = module({"x": (1, 4, 5, 6)}, body)
    assert calls(FoldAffine()(mod), "add")[0].args[1].same_as(calls(mod, "add")[0].args[1])


def _shared(b, x):
    conv = _conv(b, x)
    return b.add(relax.op.add(conv, b.add(relax.op.multiply(conv, _per_channel(8, 1, 1)))))


@pytest.mark.parametrize(
    "body",
    [
        _shared,
        lambda b, x: b.add(relax.op.multiply(_conv(b, x), _per_channel(5, 6))),
        lambda b, x: b.add(relax.op.multiply(b.add(relax.op.nn.relu(_conv(b, x))), _per_channel(8, 1, 1))),
        lambda b, x: b.add(relax.op.multiply(_conv(b, x), _conv(b, x))),
    ],
    ids=["two readers", "per position", "behind relu", "no constant"],
)
def test_near_miss(body):
    mod = module({"x": (1, 4, 5, 6)}, body)
    assert operators(FoldAffine()(mod)) == operators(mod)


def test_computed_weights_are_left():
    def body(b, x, w):
        return b.add(relax.op.multiply(b.add(relax.op.nn.conv2d(x, w)), _per_channel(8, 1, 1)))

    mod = module({"x": (1, 4, 5, 6), "w": (8, 4, 3, 3)}, body)
    assert operators(FoldAffine()(mod)) == ["conv2d", "multiply"]
