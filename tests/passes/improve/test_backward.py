"""Each rule gives what the module gives, and its gradients are those of finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.graph import bindings_of, is_constant
from tvmq.passes.improve.backward import channels_last, rule_of

from ..modules import const, module, random, run


def _conv(*weight, **attrs):
    return lambda b, x: b.add(relax.op.nn.conv2d(x, const(*weight), **attrs))


IMAGE, ROWS = (2, 4, 7, 6), (3, 5)
CASES = {
    "1x1": (IMAGE, _conv(5, 4, 1, 1)),
    "1x1 with a stride": (IMAGE, _conv(5, 4, 1, 1, strides=2)),
    "3x3": (IMAGE, _conv(5, 4, 3, 3, padding=1)),
    "3x3 with a stride, padded on two sides": (IMAGE, _conv(5, 4, 3, 3, strides=2, padding=(0, 0, 1, 1))),
    "dilated": (IMAGE, _conv(5, 4, 3, 2, dilation=2)),
    "depthwise": (IMAGE, _conv(4, 1, 3, 3, padding=1, groups=4)),
    "depthwise with a stride": (IMAGE, _conv(4, 1, 3, 3, padding=1, strides=2, groups=4)),
    "depthwise, dilated": ((2, 16, 9, 8), _conv(16, 1, 3, 2, padding=1, dilation=(2, 1), groups=16)),
    "depthwise, of odd channels": ((3, 5, 6, 7), _conv(5, 1, 5, 5, padding=2, strides=(2, 1), groups=5)),
    "matmul": (ROWS, lambda b, x: b.add(relax.op.matmul(x, const(5, 4)))),
    "relu": (IMAGE, lambda b, x: b.add(relax.op.nn.relu(x))),
    "clip": (IMAGE, lambda b, x: b.add(relax.op.clip(x, -0.5, 1.0))),
    "bias of an image": (IMAGE, lambda b, x: b.add(relax.op.add(x, const(1, 4, 1, 1)))),
    "bias of rows": (ROWS, lambda b, x: b.add(relax.op.add(x, const(5)))),
    "pool": (IMAGE, lambda b, x: b.add(relax.op.nn.adaptive_avg_pool2d(x, (1, 1)))),
    "flatten": ((3, 4, 1, 1), lambda b, x: b.add(relax.op.reshape(x, (3, 4)))),
    "mean": (IMAGE, lambda b, x: b.add(relax.op.mean(x, (2, 3), keepdims=True))),
}


def _call(shape, body) -> tuple[relax.Call, np.ndarray]:
    """Return the one call of the module, and what the module gives for the inputs of seed 7."""
    mod = module({"x": shape}, body)
    return bindings_of(mod)[0].value, run(mod)[0]


def _operands(call: relax.Call, shape) -> list[np.ndarray]:
    data = [channels_last(np.random.default_rng(7).standard_normal(shape).astype("float32"))]
    if call.op.name in ("relax.nn.conv2d", "relax.matmul"):
        data.append(call.args[1].value.numpy())
    return data


@pytest.mark.parametrize("name", CASES)
def test_forwards_and_backwards(name):
    shape, body = CASES[name]
    call, expected = _call(shape, body)
    operands = _operands(call, shape)
    rule = rule_of(call)
    result = rule.forward(*operands)
    np.testing.assert_allclose(result, channels_last(expected), rtol=1e-4, atol=1e-5)
    gradient = np.random.default_rng(1).standard_normal(result.shape).astype("float32")
    found = rule.backward(gradient)
    assert len(found) == len(operands)
    for place, (operand, given) in enumerate(zip(operands, found, strict=True)):
        assert given.shape == operand.shape and given.dtype == np.float32
        # All rules are linear on either side of a kink, and no value of these lies within a step of one. Those that
        # have kernels take float32, and have no kink.
        size, dtype = (1.0, np.float32) if name.startswith("depthwise") else (1e-3, np.float64)
        for index in np.random.default_rng(2).choice(operand.size, 12):
            sides = []
            for step in (-size, size):
                moved = [array.astype(dtype) for array in operands]
                moved[place].reshape(-1)[index] += step
                sides.append(float((rule_of(call).forward(*moved) * gradient).sum()))
            slope = (sides[1] - sides[0]) / (2 * size)
            np.testing.assert_allclose(given.reshape(-1)[index], slope, rtol=1e-3, atol=1e-4)


def test_a_sum_gives_its_gradient_to_both():
    mod = module({"x": IMAGE, "y": IMAGE}, lambda b, x, y: b.add(relax.op.add(x, y)))
    rule = rule_of(bindings_of(mod)[0].value)
    x, y = (channels_last(random(*IMAGE, seed=seed)) for seed in (0, 1))
    np.testing.assert_array_equal(rule.forward(x, y), x + y)
    for gradient in rule.backward(x):
        np.testing.assert_array_equal(gradient, x)


@pytest.mark.parametrize(
    "shape, body",
    [
        (IMAGE, _conv(6, 2, 3, 3, groups=2)),
        (IMAGE, _conv(8, 1, 3, 3, groups=4)),
        (IMAGE, lambda b, x: b.add(relax.op.matmul(x, const(6, 5)))),
        (IMAGE, lambda b, x: b.add(relax.op.add(x, const(7, 6)))),
        (IMAGE, lambda b, x: b.add(relax.op.nn.adaptive_avg_pool2d(x, (2, 2)))),
        (IMAGE, lambda b, x: b.add(relax.op.mean(x, (1, 2), keepdims=True))),
        (IMAGE, lambda b, x: b.add(relax.op.mean(x, (2, 3)))),
        (IMAGE, lambda b, x: b.add(relax.op.reshape(x, (IMAGE[0], int(np.prod(IMAGE[1:])))))),
        (IMAGE, lambda b, x: b.add(relax.op.sigmoid(x))),
    ],
)
def test_no_rule(shape, body):
    mod = module({"x": shape}, body)
    assert not is_constant(bindings_of(mod)[0].value)
    assert rule_of(bindings_of(mod)[0].value) is None
