"""Constants per channel become weights and biases; single numbers and biases stay."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.annotate.scale_to_depthwise import ScaleToDepthwise
from tvmq.passes.hub.layers import get_layers
from tvmq.passes.hub.schemes import get_scheme

from ..modules import assert_close, calls, const, module, operators

SHAPE = (2, 4, 5, 6)


def _scaled(b, x):
    return b.add(relax.op.add(b.add(relax.op.multiply(x, const(1, 4, 1, 1)), "norm"), const(4, 1, 1)), "norm")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (_scaled, ["conv2d", "add"]),
        (lambda b, x: b.add(relax.op.multiply(x, const(4, 1, 1))), ["conv2d"]),
        (lambda b, x: b.add(relax.op.subtract(const(4, 1, 1), x)), ["conv2d", "add"]),
        (lambda b, x: _scaled(b, b.add(relax.op.nn.relu(x))), ["relu", "conv2d", "add"]),
    ],
)
def test_rewrites(body, expected):
    mod = module({"x": SHAPE}, body)
    new = ScaleToDepthwise()(mod)
    assert operators(new) == expected
    assert calls(new, "nn.conv2d")[0].attrs.groups == 4
    assert_close(mod, new)


@pytest.mark.parametrize(
    "body",
    [
        lambda b, x: b.add(relax.op.multiply(x, relax.const(np.float32(3)))),
        lambda b, x: b.add(relax.op.multiply(x, const(5, 6))),
        lambda b, x: b.add(relax.op.multiply(b.add(relax.op.matmul(x, const(2, 4, 6, 5))), const(4, 1, 1))),
        lambda b, x: b.add(relax.op.add(b.add(relax.op.nn.conv2d(x, const(3, 4, 1, 1))), const(1, 3, 1, 1))),
        lambda b, x: b.add(relax.op.multiply(b.add(relax.op.reshape(x, (10, 24))), const(24))),
    ],
    ids=["a number", "per position", "scores", "a bias", "no image"],
)
def test_near_miss(body):
    mod = module({"x": SHAPE}, body)
    assert operators(ScaleToDepthwise()(mod)) == operators(mod)


def test_annotate_quantizes_it():
    def body(b, x):
        value = b.add(relax.op.nn.relu(_scaled(b, x)), "relu")
        return b.add(relax.op.nn.conv2d(value, const(3, 4, 3, 3)), "conv")

    mod = Annotate(get_scheme("int8"))(module({"x": SHAPE}, body))
    assert {layer.name: layer.status for layer in get_layers(mod)} == dict.fromkeys(
        ["norm", "relu", "conv"], "int8"
    )
