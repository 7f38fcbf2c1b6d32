"""What precedes a weighted operator goes into its weights, and into a bias where no padding forbids it."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.prepare.fold_affine_forward import FoldAffineForward

from ..modules import assert_close, const, module, operators, random


def _values(*shape):
    return relax.const(np.abs(random(*shape, seed=3)) + np.float32(0.5))


def _normalize(b, x):
    """(x / 255 - mean) / std, as models have it in front."""
    for make, shape in ((relax.op.divide, ()), (relax.op.subtract, (4, 1, 1)), (relax.op.divide, (4, 1, 1))):
        x = b.add(make(x, _values(*shape)))
    return x


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (8, 2), (4, 4), (8, 4)])
def test_conv_without_padding(channels, groups):
    def body(b, x):
        weight = const(channels, 4 // groups, 3, 2)
        return b.add(relax.op.nn.conv2d(_normalize(b, x), weight, groups=groups, strides=(2, 1)))

    mod = module({"x": (2, 4, 7, 6)}, body)
    new = FoldAffineForward()(mod)
    assert operators(new) == ["conv2d", "add"]
    assert_close(mod, new, 24)


def test_matmul():
    def body(b, x):
        value = b.add(relax.op.add(b.add(relax.op.multiply(x, _values(4))), _values(1, 4)))
        return b.add(relax.op.matmul(value, const(4, 6)))

    mod = module({"x": (3, 4)}, body)
    new = FoldAffineForward()(mod)
    assert operators(new) == ["matmul", "add"]
    assert_close(mod, new, 4)


def test_padding_lets_a_scale_through():
    def body(b, x):
        scaled = b.add(relax.op.multiply(x, _values(4, 1, 1)))
        return b.add(relax.op.nn.conv2d(scaled, const(8, 4, 3, 3), padding=1))

    mod = module({"x": (1, 4, 5, 6)}, body)
    new = FoldAffineForward()(mod)
    assert operators(new) == ["conv2d"]
    assert_close(mod, new, 36)


def test_padding_stops_a_shift_and_what_is_before_it():
    def body(b, x):
        return b.add(relax.op.nn.conv2d(_normalize(b, x), const(8, 4, 3, 3), padding=1))

    mod = module({"x": (1, 4, 5, 6)}, body)
    new = FoldAffineForward()(mod)
    assert operators(new) == ["divide", "subtract", "conv2d"]  # the last division has gone into the weights
    assert_close(mod, new, 36)


def _shared(b, x):
    scaled = b.add(relax.op.multiply(x, _values(4, 1, 1)))
    return relax.Tuple([scaled, b.add(relax.op.nn.conv2d(scaled, const(8, 4, 3, 3)))])


def _per_position(b, x):
    return b.add(relax.op.nn.conv2d(b.add(relax.op.multiply(x, _values(5, 6))), const(8, 4, 3, 3)))


@pytest.mark.parametrize("body", [_shared, _per_position])
def test_near_miss(body):
    mod = module({"x": (1, 4, 5, 6)}, body)
    assert operators(FoldAffineForward()(mod)) == operators(mod)
