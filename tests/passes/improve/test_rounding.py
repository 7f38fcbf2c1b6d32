"""Weights rounded for the layer's result: nearer to float than rounding to nearest, layer by layer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.calibrate.watch import compile_for_host
from tvmq.passes.hub.graph import rebuild, shape_of
from tvmq.passes.hub.lane_sums import largest_sums, runs_of
from tvmq.passes.hub.pairs import float_form, weight_pairs
from tvmq.passes.hub.parameters import weight_limits
from tvmq.passes.hub.schemes import Scheme
from tvmq.passes.improve.bias_correction import CorrectBias
from tvmq.passes.improve.rounding import RoundWeights
from tvmq.targets.row import LaneSums

from ..modules import const, module, random
from .test_blocks import SHAPE, mixed, network

LOW = Scheme("w3a8", weight_bits=3, edge_bits=3)


def _results(mod, samples):
    run = compile_for_host(
        rebuild(mod, lambda builder, var, value: value, result=relax.Tuple([mod["main"].body.body]))
    )
    return [run(sample)[0] for sample in samples]


def _distance(mod, reference, samples):
    pairs = zip(_results(mod, samples), _results(reference, samples), strict=True)
    return sum(float(np.square(a.astype(np.float64) - b).sum()) for a, b in pairs)


def _quantized(body, scheme=LOW):
    return Calibrate(mixed())(Annotate(scheme)(module({"x": SHAPE}, body)))


def test_nearer_to_float_than_rounding_to_nearest_on_other_samples():
    mod = network()
    train, test = mixed(8), mixed(20, seed=50)
    reference = float_form(mod)
    plain, better = CorrectBias(train)(mod), RoundWeights(train)(mod)
    assert _distance(better, reference, test) < 0.8 * _distance(plain, reference, test)
    assert [pair.name for pair in weight_pairs(better)] == [pair.name for pair in weight_pairs(mod)]
    for pair in weight_pairs(better):
        low, high = weight_limits(pair.bits)
        assert low <= pair.integers.min() and pair.integers.max() <= high


def test_some_samples_tell_the_correlations():
    mod, samples = network(), mixed(5)
    some = RoundWeights(samples, correlated=3)(mod)  # the first, the third and the last
    alone = RoundWeights(samples[::2])(mod)
    for one, other in zip(weight_pairs(some), weight_pairs(alone), strict=True):
        np.testing.assert_array_equal(one.integers, other.integers)
        np.testing.assert_array_equal(one.scales, other.scales)
    with pytest.raises(TvmqError, match="correlated must be at least 1, got 0"):
        RoundWeights(samples, correlated=0)


def test_scales_stay_where_that_is_asked():
    mod = network()
    same = RoundWeights(mixed(), fit_scales=False)(mod)
    for old, new in zip(weight_pairs(mod), weight_pairs(same), strict=True):
        np.testing.assert_array_equal(old.scales, new.scales)
        np.testing.assert_array_equal(old.values, new.values)


def test_one_scale_a_tensor_stays_one():
    mod = _quantized(
        lambda b, x: b.add(relax.op.nn.conv2d(x, const(6, 4, 3, 3))),
        dataclasses.replace(LOW, per_channel=False),
    )
    (pair,) = weight_pairs(RoundWeights(mixed())(mod))
    assert pair.scales.shape == (1,)


def test_sums_in_a_lane_keep_their_limit():
    limit = 9
    scheme = dataclasses.replace(Scheme("w5a8", weight_bits=5, edge_bits=5), lane_sums=LaneSums(limit))
    mod = _quantized(lambda b, x: b.add(relax.op.nn.conv2d(x, const(6, 4, 3, 3))), scheme)
    (pair,) = weight_pairs(RoundWeights(mixed())(mod))
    assert 0 < largest_sums(runs_of(pair.integers, pair.axis), LaneSums(limit)).max() <= limit


def test_a_shared_weight_is_rounded_once_for_all_its_readers():
    weight = const(4, 4, 1, 1)

    def body(b, x):
        first = b.add(relax.op.nn.relu(b.add(relax.op.nn.conv2d(x, weight), "first")), "relu")
        return b.add(relax.op.nn.conv2d(first, weight), "second")

    mod = _quantized(body)
    better = RoundWeights(mixed())(mod)
    (pair,) = weight_pairs(better)
    assert len(pair.readers) == 2
    assert _distance(better, float_form(mod), mixed(4, seed=50)) < _distance(
        mod, float_form(mod), mixed(4, seed=50)
    )


def test_the_mean_error_is_gone():
    mod = _quantized(lambda b, x: b.add(relax.op.nn.conv2d(x, const(6, 4, 3, 3), padding=1)))
    samples = mixed()
    better = RoundWeights(samples)(mod)
    difference = np.stack(_results(better, samples)) - np.stack(_results(float_form(mod), samples))
    np.testing.assert_allclose(difference.mean(axis=(0, 1, 3, 4)), 0.0, atol=1e-5)


def test_the_mean_error_is_gone_behind_several_layers_of_a_block():
    def body(b, x):
        for name, width in (("first", 9), ("second", 12)):
            x = b.add(
                relax.op.nn.relu(b.add(relax.op.nn.conv2d(x, const(width, shape_of(x)[1], 1, 1)), name))
            )
        return b.add(relax.op.nn.conv2d(x, const(3, 12, 1, 1)), "last")

    mod, samples = _quantized(body, dataclasses.replace(LOW, weight_bits=2, edge_bits=2)), mixed()
    # The second and the last are one block; there the second's new bias is far from the float model's.
    better = RoundWeights(samples)(mod)
    difference = np.stack(_results(better, samples)) - np.stack(_results(float_form(mod), samples))
    np.testing.assert_allclose(difference.mean(axis=(0, 1, 3, 4)), 0.0, atol=1e-4)


def test_a_matrix_and_channels_that_are_always_zero():
    def body(b, x):
        zero = b.add(relax.op.multiply(x, relax.const(np.float32([1, 0, 1, 0, 1, 1]))), "mask")
        return b.add(relax.op.matmul(b.add(relax.op.nn.relu(zero), "relu"), const(6, 5)), "product")

    mod = Annotate(LOW)(module({"x": (3, 6)}, body))
    samples = [{"x": random(3, 6, seed=seed)} for seed in range(5)]
    (pair,) = weight_pairs(RoundWeights(samples)(Calibrate(samples)(mod)))
    assert np.isfinite(pair.scales).all()


def test_bad_input():
    mod, samples = network(), mixed(2)
    with pytest.raises(TvmqError, match="no calibration samples"):
        RoundWeights([])(mod)
    with pytest.raises(TvmqError, match="calibration sample 1, input 'x': expected shape"):
        RoundWeights([samples[0], {"x": random(1, 2, 3, 3)}])(mod)
    with pytest.raises(TvmqError, match="damping must be a positive number, got -1"):
        RoundWeights(samples, damping=-1)
    with pytest.raises(TvmqError, match="making_up must be a positive number, got nan"):
        RoundWeights(samples, making_up=float("nan"))
    with pytest.raises(TvmqError, match="needs pairs whose scales are known, and that of value 'x' is not"):
        RoundWeights(samples)(Annotate(LOW)(float_form(mod)))


def test_nothing_to_do_is_left_alone():
    mod = Annotate(LOW)(module({"x": SHAPE}, lambda b, x: b.add(relax.op.nn.relu(x))))
    assert RoundWeights([])(mod).same_as(mod)
