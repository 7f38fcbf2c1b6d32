"""Chains of weighted operators, and factors between them that equalize weights and leave the float model as it was."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.calibrate.watch import compile_for_host, watched
from tvmq.passes.improve.chains import Weights, chains_of
from tvmq.passes.improve.equalize import Equalize

from ..modules import assert_close, calls, const, module, operators, random

SHAPE = (1, 4, 6, 6)
CHANNEL_FACTORS = np.array([50.0, 1.0, 0.02, 4.0], np.float32)


def _uneven(*shape: int, seed: int) -> relax.Expr:
    """Return weights whose output channels have very different ranges."""
    return relax.const(random(*shape, seed=seed) * CHANNEL_FACTORS.reshape(-1, 1, 1, 1))


def _conv(b, x, seed: int, groups: int = 1, **attrs):
    weight = _uneven(4, 4 // groups, 3, 3, seed=seed)
    return b.add(relax.op.nn.conv2d(x, weight, padding=1, groups=groups, **attrs))


def _biased(b, x, seed: int, groups: int = 1):
    bias = relax.const(random(1, 4, 1, 1, seed=seed + 10) * CHANNEL_FACTORS.reshape(1, 4, 1, 1))
    return b.add(relax.op.add(_conv(b, x, seed, groups), bias))


def _relu6(b, x):
    return b.add(relax.op.clip(x, 0, 6))


def _inverted_residual(activation):
    def body(b, x):
        hidden = activation(b, _biased(b, x, 1))
        hidden = activation(b, _biased(b, hidden, 2, groups=4))
        return _biased(b, hidden, 3)

    return module({"x": SHAPE}, body)


ACTIVATIONS = {
    "none": lambda b, x: x,
    "relu": lambda b, x: b.add(relax.op.nn.relu(x)),
    "leaky": lambda b, x: b.add(relax.op.nn.leakyrelu(x, 0.1)),
    "max_pool": lambda b, x: b.add(relax.op.nn.max_pool2d(x, (2, 2))),
    "relu, pad": lambda b, x: b.add(relax.op.nn.pad(b.add(relax.op.nn.relu(x)), [0, 0, 0, 0, 1, 1, 1, 1])),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_equal_ranges_and_the_same_model(name):
    before = _inverted_residual(ACTIVATIONS[name])
    after = Equalize(())(before)
    weights = Weights.of(after)
    chains = chains_of(after)
    assert len(chains) == 2
    for chain in chains:
        ranges = weights.output_ranges(chain.first), weights.input_ranges(chain.second)
        np.testing.assert_allclose(*ranges, rtol=5e-3)
    old, new = (
        call.args[1].value.numpy() for call in (calls(mod, "nn.conv2d")[1] for mod in (before, after))
    )
    assert np.abs(old - new).max() > 1.0
    # Values reach the product of three layers' factors: the tolerance is for values of the order of 10.
    (expected,), (found,) = (
        compile_for_host(watched(mod, [mod["main"].body.body]))({"x": random(*SHAPE)})
        for mod in (before, after)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_relu6_keeps_its_limit_and_the_samples_their_results():
    before = _inverted_residual(_relu6)
    samples = [{"x": random(*SHAPE, seed=seed) / 8} for seed in range(4)]
    after = Equalize(samples)(before)
    assert operators(after) == operators(before)
    first = [call.args[1].value.numpy() for call in (calls(mod, "nn.conv2d")[0] for mod in (before, after))]
    ratio = (first[1] / first[0]).reshape(4, -1)
    # Channel 0 reaches 6, so it stays; channel 2 is small, and grows until it would reach 6.
    np.testing.assert_allclose(ratio[0], 1.0, rtol=1e-6)
    assert (ratio[2] > 2.0).all()
    results = [relax.Tuple([mod["main"].body.body]) for mod in (before, after)]
    runs = [
        compile_for_host(watched(mod, list(result.fields)))
        for mod, result in zip((before, after), results, strict=True)
    ]
    for sample in samples:
        (expected,), (found,) = (run(sample) for run in runs)
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def _residual(b, x):
    hidden = _conv(b, x, 1)
    return b.add(relax.op.add(_conv(b, hidden, 2), hidden))


def _through(call):
    def body(b, x):
        return _conv(b, b.add(call(_conv(b, x, 1))), 2)

    return body


def _shared(b, x):
    weight = const(4, 4, 3, 3)
    hidden = b.add(relax.op.nn.conv2d(x, weight, padding=1))
    return b.add(relax.op.nn.conv2d(hidden, weight, padding=1))


@pytest.mark.parametrize(
    "body",
    [
        _residual,
        _shared,
        _through(relax.op.sigmoid),
        _through(lambda x: relax.op.clip(x, -1, 6)),
        _through(lambda x: relax.op.nn.pad(x, [0, 0, 0, 0, 1, 1, 1, 1], pad_value=1.0)),
        _through(lambda x: relax.op.add(x, const(6, 6))),
    ],
)
def test_leaves_alone(body, caplog):
    mod = module({"x": SHAPE}, body)
    assert chains_of(mod) == []
    assert_close(mod, Equalize(())(mod), products=1)
    assert "equalize has no effect" in caplog.text


def test_matrices_grouped_filters_and_empty_channels():
    first = random(5, 6)
    first[:, 2] = 0.0

    def dense(b, x):
        hidden = b.add(relax.op.nn.relu(b.add(relax.op.matmul(x, relax.const(first)))))
        return b.add(relax.op.matmul(hidden, const(6, 3)))

    mod = module({"x": (2, 5)}, dense)
    assert_close(mod, Equalize(())(mod), products=6)
    after = Equalize(())(mod)
    (chain,), weights = chains_of(after), Weights.of(after)
    used = np.arange(6) != 2
    assert weights.output_ranges(chain.first)[2] == 0.0
    np.testing.assert_allclose(
        weights.output_ranges(chain.first)[used], weights.input_ranges(chain.second)[used], rtol=5e-3
    )

    def grouped(b, x):
        hidden = b.add(relax.op.nn.conv2d(x, const(4, 4, 1, 1)))
        return b.add(relax.op.nn.conv2d(hidden, const(6, 2, 3, 3, seed=3), groups=2))

    mod = module({"x": SHAPE}, grouped)
    assert_close(mod, Equalize(())(mod), products=18)


def test_needs_samples_for_a_limit():
    with pytest.raises(TvmqError, match="no calibration samples"):
        Equalize(())(_inverted_residual(_relu6))
