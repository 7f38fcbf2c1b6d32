"""Biases that make up for the mean error of compressed weights, with samples and without."""

from __future__ import annotations

import math
from contextlib import nullcontext

import numpy as np
import pytest
from tvm import relax

from tvmq.api import compile, quantize
from tvmq.errors import TvmqError
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.hub.compressed import compressed
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.improve.bias_correction import biases_of
from tvmq.passes.weight_only.compress import CompressWeights

from ..modules import module, operators, random

SHAPE = (1, 4, 6, 6)
FIRST, SECOND = random(8, 4, 1, 1), random(3, 8, 3, 3, seed=1)
BIAS = random(8, seed=2)
SAMPLES = [{"x": random(*SHAPE, seed=seed) + np.float32(1.0)} for seed in range(5)]


def net(second=SECOND):
    def body(b, x):
        first = b.add(relax.op.nn.conv2d(x, relax.const(FIRST)), "first", "Conv")
        biased = b.add(relax.op.add(first, relax.const(BIAS.reshape(1, 8, 1, 1))), "first")
        relu = b.add(relax.op.nn.relu(biased), "relu", "Relu")
        return b.add(relax.op.nn.conv2d(relu, relax.const(second)), "second", "Conv")

    return module({"x": SHAPE}, body)


def compress(samples=(), mod=None, **options):
    chosen = QuantizeOptions(**{"weight_bits": 3, **options})
    return CompressWeights(get_scheme("weight-only"), chosen, samples)(mod or net())


def test_without_samples_means_come_from_the_weights():
    mod = compress()
    first, second = biases_of(mod).values()
    np.testing.assert_array_equal(first.values, BIAS)  # inputs have the mean 0
    mean, deviation = (
        BIAS.astype(np.float64),
        np.sqrt(np.square(FIRST.astype(np.float64)).sum(axis=(1, 2, 3))),
    )
    below = np.array([0.5 * math.erfc(z / math.sqrt(2.0)) for z in mean / deviation])
    density = np.exp(-0.5 * np.square(mean / deviation)) / math.sqrt(2.0 * math.pi)
    relu = mean * (1.0 - below) + deviation * density
    _, codes = compressed(mod).values()
    error = (codes.values().astype(np.float64) - SECOND).sum(axis=(2, 3))
    np.testing.assert_allclose(second.values, -error @ relu, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"codebook": True}, {"group_size": 2}], ids=str)
def test_with_samples_the_mean_of_results_is_kept(options):
    mod = net(random(3, 8, 1, 1, seed=1))
    options = {"weight_bits": 3, "skip_layers": ["first"], **options}

    def means(model):
        package = compile(model)
        return np.mean([next(iter(package.run(each).values())) for each in SAMPLES], axis=(0, 1, 3, 4))

    def error(samples, **more):
        quantized = quantize(
            mod, "weight-only", calibration=samples, options=QuantizeOptions(**options, **more)
        )
        return np.abs(means(quantized) - means(mod)).max()

    assert error(SAMPLES) < 1e-5
    assert error(None, bias_correction="none") > 0.01


def test_biases_by_what_samples_show():
    mod = compress(SAMPLES)
    first, _ = biases_of(mod).values()
    codes, _ = compressed(mod).values()
    mean = np.mean([sample["x"] for sample in SAMPLES], axis=(0, 1, 3, 4), dtype=np.float64)
    error = (codes.values().astype(np.float64) - FIRST)[:, :, 0, 0]
    np.testing.assert_allclose(first.values, BIAS - error @ mean, rtol=1e-5)


def test_a_bar_for_the_layers_and_one_for_the_samples():
    seen = []

    class Bar:
        def update(self, count):
            seen.append(count)

    def progress(description, total):
        seen.append((description, total))
        return nullcontext(Bar())

    quantize(net(), "weight-only", calibration=SAMPLES, progress=progress)
    assert seen == [("compress weights", 2), 1, 1, ("correct biases", 5), 1, 1, 1, 1, 1]


def test_samples_are_not_looked_at_where_biases_stay():
    def samples():
        raise AssertionError("looked at")
        yield

    mod = compress(samples(), bias_correction="none")
    assert operators(mod) == ["call_tir", "conv2d", "add", "relu", "call_tir", "conv2d"]
    compress(samples(), bias_correction="analytic")


def test_a_layer_that_stays_in_float_keeps_its_bias():
    mod = compress(SAMPLES, skip_layers=["first"])
    first, second = biases_of(mod).values()
    np.testing.assert_array_equal(first.values, BIAS)
    assert np.abs(second.values).max() > 0.0


def test_branches_with_weights_in_common_have_biases_of_their_own():
    weight = relax.const(random(5, 4, 1, 1))

    def body(b, x):
        heads = [relax.op.nn.relu(x), relax.op.negative(relax.op.nn.relu(x))]
        return relax.Tuple(
            [
                b.add(relax.op.nn.conv2d(b.add(head, f"act{index}"), weight), f"conv{index}", "Conv")
                for index, head in enumerate(heads)
            ]
        )

    mod = compress(SAMPLES, module({"x": SHAPE}, body))
    assert operators(mod).count("call_tir") == 1
    first, second = biases_of(mod).values()
    np.testing.assert_allclose(second.values, -first.values, atol=1e-6)
    assert np.abs(first.values).max() > 0.0


def test_layers_behind_what_is_unknown_keep_their_biases():
    def body(b, x):
        hidden = b.add(relax.op.exp(x), "exp", "Exp")
        return b.add(relax.op.nn.conv2d(hidden, relax.const(FIRST)), "first", "Conv")

    mod = module({"x": SHAPE}, body)
    assert operators(compress(mod=mod)) == ["exp", "call_tir", "conv2d"]
    assert operators(compress(SAMPLES, mod)) == ["exp", "call_tir", "conv2d", "add"]


@pytest.mark.parametrize(
    ("correction", "message"),
    [
        ("empirical", "^bias_correction 'empirical' needs samples .*; 'analytic' needs none$"),
        (
            "sequential",
            "^bias_correction 'sequential' has no effect with weights alone, only one of: none, empirical",
        ),
    ],
)
def test_bias_corrections_that_there_are_not(correction, message):
    with pytest.raises(TvmqError, match=message):
        quantize(net(), "weight-only", options=QuantizeOptions(bias_correction=correction))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "^there are no calibration samples to correct biases; at least one is needed$"),
        ([{"x": random(1, 4, 5, 6)}], r"input 'x': expected shape \[1, 4, 6, 6\], got \[1, 4, 5, 6\]"),
        ([{"y": random(*SHAPE)}], "unknown input in calibration sample 0 'y'"),
    ],
)
def test_bad_samples(samples, message):
    with pytest.raises(TvmqError, match=message):
        quantize(net(), "weight-only", calibration=samples)
