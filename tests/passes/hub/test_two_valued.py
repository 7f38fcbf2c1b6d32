"""Values of two numbers are found whatever the operators are, with the exact number where they change."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.hub.graph import bindings_of, op_name
from tvmq.passes.hub.two_valued import binary_layers, signs_of, two_valued
from tvmq.passes.prepare.prepare import Prepare

from ..binary_networks import FORMS, binary_network
from ..modules import module

SHAPE = (1, 4, 5, 5)
SMALLEST = np.float32(1e-45)


def of(body):
    """Return the module of ``body(emit, x)``."""
    return module({"x": SHAPE}, lambda builder, x: body(builder.add, x))


def found_in(body):
    """Return what is found of the last value of ``body(emit, x)``."""

    mod = of(body)
    last = bindings_of(mod)[-1].var
    return two_valued(mod).get(last)


def const(value):
    return relax.const(np.float32(value))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lambda emit, x: emit(relax.op.sign(x)), (0.0, -1.0, 1.0)),
        (
            lambda emit, x: emit(relax.op.where(emit(relax.op.greater(x, const(0))), const(1), const(-1))),
            (SMALLEST, -1.0, 1.0),
        ),
        (
            lambda emit, x: emit(
                relax.op.where(emit(relax.op.less_equal(x, const(2))), const(0.5), const(0.1))
            ),
            (np.nextafter(np.float32(2), np.float32(3)), 0.5, np.float32(0.1)),
        ),
        (lambda emit, x: emit(relax.op.round(emit(relax.op.clip(x, 0, 1)))), (None, 0.0, 1.0)),
        (
            lambda emit, x: emit(
                relax.op.multiply(
                    emit(relax.op.astype(emit(relax.op.greater_equal(x, const(-3))), "float32")), const(4)
                )
            ),
            (-3.0, 0.0, 4.0),
        ),
        (lambda emit, x: emit(relax.op.sign(emit(relax.op.add(x, const(0.1))))), (-0.1, -1.0, 1.0)),
        (lambda emit, x: emit(relax.op.nn.relu(x)), None),
        (lambda emit, x: emit(relax.op.round(emit(relax.op.clip(x, 0, 2)))), None),
        (lambda emit, x: emit(relax.op.multiply(emit(relax.op.sign(x)), x)), None),
        (lambda emit, x: emit(relax.op.abs(emit(relax.op.sign(x)))), None),
        (
            lambda emit, x: emit(
                relax.op.where(emit(relax.op.greater(x, const(0))), x, emit(relax.op.negative(x)))
            ),
            None,
        ),
    ],
)
def test_functions(body, expected):
    found = found_in(body)
    if expected is None:
        assert found is None
        return
    threshold, low, high = expected
    assert (found.low, found.high) == (low, high)
    if threshold is None:  # 0.5 is rounded to 0
        threshold = np.nextafter(np.float32(0.5), np.float32(1))
    assert found.threshold == pytest.approx(float(threshold), rel=1e-6, abs=0)


def test_what_moves_two_values_has_them():
    found = found_in(lambda emit, x: emit(relax.op.nn.max_pool2d(emit(relax.op.sign(x)), (2, 2))))
    assert (found.threshold, found.low, found.high) == (0.0, -1.0, 1.0)
    assert found_in(lambda emit, x: emit(relax.op.nn.pad(emit(relax.op.sign(x)), [0] * 6 + [1, 1]))) is None


def test_signs_of_weights():
    weight = np.array([[1.5, -1.5, 1.5], [-0.25, -0.25, 0.25]], np.float32)
    signs = signs_of(weight, 0)
    np.testing.assert_array_equal(signs.values, np.sign(weight))
    np.testing.assert_array_equal(signs.scale, [1.5, 0.25])
    assert signs_of(weight, 1) is None
    assert signs_of(np.zeros((2, 3), np.float32), 0) is None
    assert signs_of(np.array([[1.0, np.nan]], np.float32), 0) is None


@pytest.mark.parametrize("form", FORMS)
def test_layers_of_binary_networks(form):
    mod = Prepare()(load_onnx(binary_network(form)))
    weighted = [b.var for b in bindings_of(mod) if op_name(b.value) in ("relax.nn.conv2d", "relax.matmul")]
    assert binary_layers(mod) == set(weighted[1:])


def test_depthwise_and_padding_without_its_zero_are_no_binary_layers():
    weight = constant_of((8, 1, 3, 3)), constant_of((4, 4, 3, 3))

    def depthwise(emit, x):
        return emit(relax.op.nn.conv2d(emit(relax.op.sign(x)), weight[0], groups=4))

    def padded(low):
        def body(emit, x):
            signs = emit(relax.op.where(emit(relax.op.greater(x, const(0))), const(1), const(low)))
            return emit(relax.op.nn.conv2d(signs, weight[1], padding=1))

        return body

    counts = [len(binary_layers(of(body))) for body in (depthwise, padded(-1), padded(0), padded(-2))]
    assert counts == [0, 1, 1, 0]


def constant_of(shape):
    return relax.const(np.random.default_rng(0).choice([-1, 1], shape).astype(np.float32))
