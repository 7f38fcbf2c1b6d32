"""Transposed convolutions become convolutions by phases, with nothing between them and their bias and relu."""

from __future__ import annotations

import pytest
from tvm import relax

from tvmq.passes.prepare.transposed_convolution import TransposedConvolution
from tvmq.passes.prepare.widen_1d import Widen1d

from ..modules import assert_close, const, module, operators

SHAPE = (2, 4, 5, 6)


def _conv(b, x, kernel=(4, 4), out=3, **attrs):
    return b.add(relax.op.nn.conv2d_transpose(x, const(4, out, *kernel), **attrs))


@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"strides": 2, "padding": 1},
        {"strides": 2, "kernel": (2, 2)},
        {"strides": 2, "kernel": (3, 3), "padding": 1, "output_padding": 1},
        {"strides": (3, 2), "kernel": (5, 2), "padding": (2, 0, 1, 1)},
        {"strides": 3, "kernel": (1, 2), "output_padding": (2, 1)},
        {"strides": 2, "kernel": (3, 2), "dilation": (2, 3), "padding": 2},
        {"strides": 2, "groups": 2, "out": 5},
        {"strides": 2, "groups": 4, "out": 1},
        {"groups": 4, "out": 1},
        {"strides": 2, "kernel": (3, 3), "padding": 2},
        {"padding": 3},
    ],
    ids=str,
)
def test_it_is_the_same(attrs):
    mod = module({"x": SHAPE}, lambda b, x: _conv(b, x, **attrs))
    new = TransposedConvolution()(mod)
    assert "conv2d" in operators(new) and "conv2d_transpose" not in operators(new)
    assert_close(mod, new, 40)


def test_what_is_pointwise_stays_behind_the_convolution():
    def body(b, x):
        y = b.add(relax.op.add(_conv(b, x, strides=2, groups=2), const(1, 6, 1, 1)))
        return b.add(relax.op.clip(b.add(relax.op.multiply(y, const(6, 1, 1))), 0.0, 6.0))

    mod = module({"x": SHAPE}, body)
    new = TransposedConvolution()(mod)
    assert operators(new)[:4] == ["conv2d", "add", "multiply", "clip"]
    assert "add" not in operators(new)[4:]
    assert_close(mod, new, 40)


def test_a_value_that_others_read_is_put_in_place_once():
    def body(b, x):
        y = _conv(b, x, strides=2)
        return b.add(relax.op.add(y, b.add(relax.op.nn.relu(y))))

    mod = module({"x": SHAPE}, body)
    new = TransposedConvolution()(mod)
    assert operators(new).count("conv2d") == 1
    assert_close(mod, new, 40)


def test_signals():
    def body(b, x):
        return b.add(relax.op.nn.conv1d_transpose(x, const(4, 3, 4), strides=2, padding=1, output_padding=1))

    mod = module({"x": SHAPE[:3]}, body)
    new = TransposedConvolution()(Widen1d()(mod))
    assert "conv2d" in operators(new)
    assert_close(mod, new, 40)


def test_computed_weights_stay():
    mod = module({"x": SHAPE, "w": (4, 3, 2, 2)}, lambda b, x, w: b.add(relax.op.nn.conv2d_transpose(x, w)))
    assert operators(TransposedConvolution()(mod)) == ["conv2d_transpose"]
