"""Biases that keep channels above 0 move to the next layer; the samples keep their results."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.calibrate.watch import compile_for_host, watched
from tvmq.passes.improve.absorb_bias import AbsorbBias
from tvmq.passes.improve.chains import Weights, chains_of

from ..modules import const, module, random

SHAPE = (1, 4, 5, 5)
SAMPLES = [{"x": random(*SHAPE, seed=seed) / 10} for seed in range(4)]
BIAS = np.array([2.0, -2.0, 0.0, 5.9], np.float32)


def _network(activation, padding=0):
    def body(b, x):
        hidden = b.add(relax.op.nn.conv2d(x, const(4, 4, 1, 1)))
        hidden = b.add(relax.op.add(hidden, relax.const(BIAS.reshape(1, 4, 1, 1))))
        hidden = b.add(activation(hidden))
        return b.add(relax.op.nn.conv2d(hidden, const(3, 4, 3, 3), padding=padding))

    return module({"x": SHAPE}, body)


@pytest.mark.parametrize(
    ("activation", "moved"),
    [
        (relax.op.nn.relu, [True, False, False, True]),
        # The last channel reaches 6 in some samples.
        (lambda x: relax.op.clip(x, 0, 6), [True, False, False, False]),
    ],
)
def test_results_stay(activation, moved):
    before = _network(activation)
    after = AbsorbBias(SAMPLES)(before)
    (chain,), weights = chains_of(after), Weights.of(after)
    np.testing.assert_array_equal(weights.biases[chain.first] < BIAS - 0.5, moved)
    assert weights.biases[chain.second].any()
    runs = [compile_for_host(watched(mod, [mod["main"].body.body])) for mod in (before, after)]
    for sample in SAMPLES:
        (expected,), (found,) = (run(sample) for run in runs)
        # Values of the order of 10 are sums of 36 products: see modules.assert_close.
        np.testing.assert_allclose(found, expected, atol=8 * 40 * 2.0**-24 * 10)


@pytest.mark.parametrize("mod", [_network(relax.op.nn.relu, padding=1), _network(relax.op.sigmoid)])
def test_leaves_alone(mod, caplog):
    assert AbsorbBias(SAMPLES)(mod).same_as(mod)
    assert "absorbing biases has no effect" in caplog.text
