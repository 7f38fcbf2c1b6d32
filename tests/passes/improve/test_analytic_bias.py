"""Bias correction from the weights alone, and the moments that it rests on."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.hub.graph import bindings_of, op_name
from tvmq.passes.hub.pairs import weight_pairs
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.improve.analytic_bias import CorrectBiasFromWeights
from tvmq.passes.improve.bias_correction import biases_of
from tvmq.passes.improve.moments import Moments, clipped_normal, moments_of

from ..modules import const, module, random

SHAPE = (1, 3, 6, 6)


def _network() -> tvm.IRModule:
    def body(b, x):
        first = b.add(relax.op.nn.conv2d(x, const(4, 3, 1, 1)), "first")
        hidden = b.add(relax.op.nn.relu(b.add(relax.op.add(first, const(1, 4, 1, 1)), "first")))
        return b.add(relax.op.nn.conv2d(hidden, const(5, 4, 3, 3, seed=3)), "second")

    return module({"x": SHAPE}, body)


def _quantized(mod: tvm.IRModule) -> tvm.IRModule:
    samples = [{"x": random(*SHAPE, seed=seed)} for seed in range(4)]
    return tvm.transform.Sequential([Annotate(get_scheme("w4a4")), Calibrate(samples)])(mod)


def test_each_layer_is_corrected_by_the_mean_of_its_input():
    mod = _quantized(_network())
    corrected = CorrectBiasFromWeights()(mod)
    assert [op_name(b.value) for b in bindings_of(corrected)].count("relax.add") == 2
    before = [bias.values for bias in biases_of(mod).values()]
    after = [bias.values for bias in biases_of(corrected).values()]
    # The model's input has the mean 0; the second layer had no bias, and its input is a clipped normal distribution.
    np.testing.assert_allclose(after[0], before[0], atol=1e-7)
    first, second = weight_pairs(mod)
    variance = np.square(first.values.astype(np.float64)).reshape(4, 3).sum(1)
    mean = clipped_normal(Moments(before[0], variance, 1), 0.0, np.inf).mean
    expected = -np.einsum("ochw,c->o", second.error, mean)
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(after[1], expected, rtol=1e-5)


def test_nothing_to_do_is_left_alone():
    mod = Annotate(get_scheme("int8"))(module({"x": (1, 4)}, lambda b, x: b.add(relax.op.nn.softmax(x))))
    assert CorrectBiasFromWeights()(mod).same_as(mod)


@pytest.mark.parametrize(("lower", "upper"), [(0.0, np.inf), (0.0, 6.0), (-1.0, 0.5), (-np.inf, 1.0)])
def test_clipped_normal(lower, upper):
    means, deviations = np.array([-3.0, 0.0, 0.7, 5.0]), np.array([1.0, 2.0, 0.5, 0.1])
    draws = np.random.default_rng(0).standard_normal((1_000_000, 1)) * deviations + means
    clipped = draws.clip(lower, upper)
    moments = clipped_normal(Moments(means, deviations**2, 1), lower, upper)
    # Five standard errors of a million draws, whose standard deviation is 2 and that of their squares below 10.
    np.testing.assert_allclose(moments.mean, clipped.mean(0), atol=5 * 2.0 / 1000)
    np.testing.assert_allclose(moments.variance, clipped.var(0), atol=5 * 10.0 / 1000)


def test_clipped_constant():
    moments = clipped_normal(Moments(np.array([-1.0, 2.0, 9.0]), np.zeros(3), 1), 0.0, 6.0)
    np.testing.assert_array_equal(moments.mean, [0.0, 2.0, 6.0])
    np.testing.assert_array_equal(moments.variance, np.zeros(3))


def test_moments_of_a_network():
    weight = random(2, 3, 1, 1)

    def body(b, x):
        first = b.add(relax.op.nn.conv2d(x, relax.const(weight)))
        double = b.add(relax.op.multiply(first, relax.const(np.float32(2.0))))
        total = b.add(relax.op.add(double, first))
        pooled = b.add(relax.op.mean(total, [2, 3], keepdims=True))
        flat = b.add(relax.op.reshape(pooled, (1, 2)))
        return b.add(relax.op.matmul(flat, const(2, 4)))

    mod = module({"x": SHAPE}, body)
    _, _, total, pooled, flat, result = (binding.var for binding in bindings_of(mod)[:6])
    moments = moments_of(mod)
    variance = np.square(weight.astype(np.float64)).reshape(2, 3).sum(1)
    np.testing.assert_allclose(moments[total].variance, 5 * variance)
    np.testing.assert_allclose(moments[pooled].variance, 5 * variance / 36)
    assert moments[flat].axis == -1
    np.testing.assert_array_equal(moments[result].mean, np.zeros(4))


def test_variance_of_smooth_images():
    """Images of one value a channel: a kernel that sums to zero sees nothing, whatever its weights."""
    weight = random(4, 3, 3, 3)
    weight[3] -= weight[3].mean(axis=(1, 2), keepdims=True)
    mod = module({"x": SHAPE}, lambda b, x: b.add(relax.op.nn.conv2d(x, relax.const(weight))))
    variance = moments_of(mod)[bindings_of(mod)[0].var].variance
    np.testing.assert_allclose(variance, np.square(weight.sum(axis=(2, 3), dtype=np.float64)).sum(1))
    assert variance[3] < 1e-12


@pytest.mark.parametrize(
    "call",
    [relax.op.exp, lambda x: relax.op.add(x, const(6, 6)), lambda x: relax.op.reshape(x, (1, 108))],
)
def test_no_moments_behind_what_is_unknown(call):
    mod = module({"x": SHAPE}, lambda b, x: b.add(call(x)))
    assert bindings_of(mod)[0].var not in moments_of(mod)
