"""Means by channel, the response of a weighted operator to them, and which additions are biases."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.graph import bindings_of
from tvmq.passes.improve.bias_correction import ChannelMean, biases_of, mean_error

from ..modules import calls, const, module, random

SHAPE = (1, 4, 5, 6)


@pytest.mark.parametrize(("shape", "axis", "others"), [((2, 3, 4, 5), 1, (0, 2, 3)), ((2, 4, 3), -1, (0, 1))])
def test_channel_mean(shape, axis, others):
    watcher = ChannelMean(axis)
    arrays = [random(*shape, seed=seed) for seed in range(3)]
    for array in arrays:
        watcher.update(array)
    np.testing.assert_allclose(
        watcher.mean, np.mean([array.mean(others) for array in arrays], axis=0), atol=1e-6
    )


def test_mean_error_is_the_operator_on_a_constant_input():
    mod = module({"x": SHAPE}, lambda b, x: b.add(relax.op.nn.conv2d(x, const(6, 2, 3, 3), groups=2)))
    error, mean = random(6, 2, 3, 3), np.array([1.0, -2.0, 0.5, 3.0])
    expected = [(error[o] * mean[o // 3 * 2 : o // 3 * 2 + 2, None, None]).sum() for o in range(6)]
    np.testing.assert_allclose(mean_error(calls(mod, "nn.conv2d")[0], error, mean), expected, rtol=1e-6)


def _conv(b, x):
    return b.add(relax.op.nn.conv2d(x, const(4, 4, 3, 3), padding=1))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (lambda b, x: b.add(relax.op.add(_conv(b, x), const(1, 4, 1, 1))), 1),
        (lambda b, x: b.add(relax.op.add(const(4, 1, 1), _conv(b, x))), 1),
        (lambda b, x: b.add(relax.op.add(_conv(b, x), const(5, 6))), 0),
        (lambda b, x: b.add(relax.op.add(_conv(b, x), x)), 0),
        (lambda b, x: b.add(relax.op.add(x, const(1, 4, 1, 1))), 0),
        (lambda b, x: relax.Tuple([c := _conv(b, x), b.add(relax.op.add(c, const(1, 4, 1, 1)))]), 0),
    ],
)
def test_biases(body, found):
    mod = module({"x": SHAPE}, body)
    biases = biases_of(mod)
    assert len(biases) == found
    for bias in biases.values():
        assert bias.weighted.same_as(bindings_of(mod)[0].var)
        np.testing.assert_array_equal(bias.values, random(4, seed=1))
