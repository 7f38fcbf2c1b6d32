"""Convolutions of upright signals are turned, with nothing between one and what is behind it."""

from __future__ import annotations

import pytest
from tvm import relax

from tvmq.passes.prepare.lay_down import LayDown
from tvmq.passes.realize.layout import Layout

from ..modules import assert_close, const, module, operators

SHAPE = (2, 4, 9, 1)


def _conv(b, x, kernel=(3, 1), **attrs):
    return b.add(relax.op.nn.conv2d(x, const(4, 4 // attrs.get("groups", 1), *kernel), **attrs))


@pytest.mark.parametrize(
    "attrs",
    [{}, {"strides": (2, 1), "padding": (1, 0, 2, 0)}, {"dilation": (2, 1)}, {"groups": 4}, {"strides": 2}],
    ids=str,
)
def test_conv(attrs):
    mod = module({"x": SHAPE}, lambda b, x: _conv(b, x, **attrs))
    new = LayDown()(mod)
    assert operators(new) == ["permute_dims", "conv2d", "permute_dims"]
    assert_close(mod, new, 12)


def _chain(b, x):
    y = b.add(relax.op.nn.relu(b.add(relax.op.add(_conv(b, x, padding=(1, 0)), const(1, 4, 1, 1)))))
    z = _conv(b, b.add(relax.op.nn.relu(b.add(relax.op.add(_conv(b, y, padding=(1, 0)), y)))))
    return b.add(relax.op.nn.max_pool2d(z, (2, 1)))


def test_a_chain_is_turned_once():
    mod = module({"x": SHAPE}, _chain)
    new = LayDown()(mod)
    assert operators(new) == [
        *("permute_dims", "conv2d", "add", "relu", "conv2d", "add", "relu", "conv2d", "permute_dims"),
        "max_pool2d",
    ]
    assert_close(mod, new, 40)


def test_turning_moves_nothing():
    new = Layout()(LayDown()(module({"x": SHAPE}, _chain)))
    assert operators(new).count("permute_dims") == 2  # the model's own input and output


@pytest.mark.parametrize(
    ("shape", "kernel", "attrs"),
    [
        ((1, 4, 9, 2), (3, 1), {}),
        ((1, 4, 9, 1), (3, 3), {"padding": (0, 1)}),
        ((1, 4, 3, 1), (3, 1), {}),
    ],
)
def test_other_images_stay(shape, kernel, attrs):
    mod = module({"x": shape}, lambda b, x: _conv(b, x, kernel, **attrs))
    assert operators(LayDown()(mod)) == ["conv2d"]
