"""Means of channels move to the next layer; the samples keep their results."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.calibrate.watch import compile_for_host, watched
from tvmq.passes.improve.center import CenterActivations

from ..modules import calls, const, module, random

SHAPE = (2, 4, 5, 5)
SAMPLES = [{"x": random(*SHAPE, seed=seed) + 0.5} for seed in range(4)]
MEANS = np.array([20.0, -30.0, 0.0, 5.0], np.float32)


def _conv(b, x, taps, name, **attrs):
    return b.add(relax.op.nn.conv2d(x, const(4, 4, taps, taps), **attrs), name)


def _network(between=lambda b, value: value, biased=True, **second):
    def body(b, x):
        hidden = _conv(b, x, 3, "first", padding=1)
        if biased:
            hidden = b.add(relax.op.add(hidden, relax.const(MEANS.reshape(1, 4, 1, 1))), "first")
        return _conv(b, between(b, hidden), second.pop("taps", 1), "second", **second)

    return module({"x": SHAPE}, body)


def _dense():
    def body(b, x):
        hidden = b.add(relax.op.add(b.add(relax.op.matmul(x, const(5, 7)), "first"), const(7)), "first")
        return b.add(relax.op.add(b.add(relax.op.matmul(hidden, const(7, 3)), "second"), const(3)), "second")

    return module({"x": SHAPE}, body)


@pytest.mark.parametrize(
    "before", [_network(), _network(biased=False), _network(taps=3), _network(strides=2), _dense()]
)
def test_results_stay_and_means_go(before):
    after = CenterActivations(SAMPLES)(before)
    inner = []
    for mod in (before, after):
        second = (calls(mod, "nn.conv2d") or calls(mod, "matmul"))[-1]
        inner.append(compile_for_host(watched(mod, [mod["main"].body.body, second.args[0]])))
    axis = 1 if "conv" in str(before) else -1
    total = 0.0
    for sample in SAMPLES:
        (expected, _), (found, hidden) = (run(sample) for run in inner)
        # Values of the order of 100 are sums of 36 products: see modules.assert_close.
        np.testing.assert_allclose(found, expected, atol=8 * 40 * 2.0**-24 * 100)
        total = total + hidden.mean(axis=tuple(place for place in range(4) if place != axis % 4))
    np.testing.assert_allclose(total / len(SAMPLES), 0.0, atol=1e-4)


@pytest.mark.parametrize(
    "mod",
    [
        _network(taps=3, padding=1),
        _network(lambda b, value: b.add(relax.op.nn.relu(value))),
        _network(lambda b, value: b.add(relax.op.add(value, value))),
    ],
)
def test_leaves_alone(mod):
    assert CenterActivations(SAMPLES)(mod).same_as(mod)


def test_three_in_a_row_take_two_means():
    def body(b, x):
        return _conv(b, _conv(b, _conv(b, x, 1, "first"), 1, "second"), 1, "third")

    before = module({"x": SHAPE}, body)
    after = CenterActivations(SAMPLES)(before)
    runs = [compile_for_host(watched(mod, [mod["main"].body.body])) for mod in (before, after)]
    for sample in SAMPLES:
        (expected,), (found,) = (run(sample) for run in runs)
        np.testing.assert_allclose(found, expected, atol=1e-3)
