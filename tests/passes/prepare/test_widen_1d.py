"""One-dimensional operators become two-dimensional ones, with nothing between a convolution and its relu."""

from __future__ import annotations

import pytest
from tvm import relax

from tvmq.passes.prepare.widen_1d import Widen1d

from ..modules import assert_close, const, module, operators

SHAPE = (2, 4, 9)


def _conv(b, x, **attrs):
    return b.add(relax.op.nn.conv1d(x, const(6, 4 // attrs.get("groups", 1), 3), **attrs))


@pytest.mark.parametrize(
    "attrs", [{}, {"strides": 2, "padding": (1, 2)}, {"dilation": 2, "padding": 2}, {"groups": 2}]
)
def test_conv(attrs):
    mod = module({"x": SHAPE}, lambda b, x: _conv(b, x, **attrs))
    new = Widen1d()(mod)
    assert operators(new) == ["expand_dims", "conv2d", "squeeze"]
    assert_close(mod, new, 12)


@pytest.mark.parametrize("pool", [relax.op.nn.max_pool1d, relax.op.nn.avg_pool1d])
@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"strides": 2, "padding": (1, 0)},
        {"ceil_mode": True, "strides": 2},
        {"count_include_pad": True, "padding": 1},
    ],
)
def test_pool(pool, attrs):
    mod = module({"x": SHAPE}, lambda b, x: b.add(pool(x, 3, **attrs)))
    new = Widen1d()(mod)
    assert operators(new)[1] in ("max_pool2d", "avg_pool2d")
    assert_close(mod, new, 3)


def test_a_chain_is_widened_once():
    def body(b, x):
        first = b.add(relax.op.add(_conv(b, x, padding=1), const(1, 6, 1)))
        first = b.add(relax.op.nn.max_pool1d(b.add(relax.op.nn.relu(first)), 3, padding=1))
        total = b.add(relax.op.add(first, b.add(relax.op.multiply(first, const(6, 1)))))
        return b.add(relax.op.nn.conv1d(total, const(2, 6, 1)))

    mod = module({"x": SHAPE}, body)
    new = Widen1d()(mod)
    expected = ["expand_dims", "conv2d", "add", "relu", "max_pool2d", "multiply", "add", "conv2d", "squeeze"]
    assert operators(new) == expected
    assert_close(mod, new, 30)


def test_computed_weights():
    mod = module({"x": SHAPE, "w": (6, 4, 3)}, lambda b, x, w: b.add(relax.op.nn.conv1d(x, w)))
    new = Widen1d()(mod)
    assert operators(new) == ["expand_dims", "expand_dims", "conv2d", "squeeze"]
    assert_close(mod, new, 12)


@pytest.mark.parametrize(
    "body",
    [
        lambda b, x: b.add(relax.op.nn.relu(x)),
        lambda b, x: b.add(relax.op.nn.conv1d(x, const(6, 9, 3), data_layout="NWC")),
        lambda b, x: b.add(
            relax.op.nn.relu(b.add(relax.op.squeeze(b.add(relax.op.reshape(x, (1, 2, 36))), [0])))
        ),
    ],
)
def test_near_miss(body):
    mod = module({"x": SHAPE}, body)
    assert operators(Widen1d()(mod)) == operators(mod)


def test_a_sum_with_a_signal_that_is_none_of_ours_stays():
    mod = module({"x": SHAPE, "y": (2, 6, 7)}, lambda b, x, y: b.add(relax.op.add(_conv(b, x), y)))
    new = Widen1d()(mod)
    assert operators(new) == ["expand_dims", "conv2d", "squeeze", "add"]
    assert_close(mod, new, 12)
