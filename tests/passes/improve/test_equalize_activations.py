"""Channels of activations made alike, with the float model as it was."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.calibrate.watch import compile_for_host, watched
from tvmq.passes.hub.graph import bindings_of
from tvmq.passes.improve.equalize_activations import EqualizeActivations, groups_of

from ..modules import const, module, operators, random

SHAPE = (1, 4, 6, 6)
SPREAD = np.float32([0.01, 0.1, 1.0, 10.0])


def _conv(b, x, weight, **attrs):
    return b.add(relax.op.nn.conv2d(x, relax.const(weight), **attrs))


def _wide(seed: int) -> np.ndarray:
    """Return weights whose results differ by channel."""
    return random(4, 4, 1, 1, seed=seed) * SPREAD[:, None, None, None]


def _samples(count: int = 4):
    return [{"x": random(*SHAPE, seed=40 + place)} for place in range(count)]


def _values(mod, samples):
    """Return every value of the module for each sample, ``[values][samples, ...]``, by place."""
    found = [binding.var for binding in bindings_of(mod) if binding.var.ty is not None]
    run = compile_for_host(watched(mod, found))
    return [np.stack(arrays) for arrays in zip(*(run(sample) for sample in samples), strict=True)]


def _sizes(values: np.ndarray) -> np.ndarray:
    return (values.astype(np.float64) ** 4).mean(axis=(0, 1, 3, 4)) ** 0.25


def test_channels_become_alike_and_the_result_stays():
    def body(b, x):
        wide = b.add(relax.op.nn.relu(b.add(relax.op.add(_conv(b, x, _wide(1)), const(1, 4, 1, 1)))))
        deep = _conv(b, wide, random(4, 1, 3, 3, seed=2), groups=4, padding=1)
        return _conv(b, deep, random(3, 4, 1, 1, seed=3))

    mod, samples = module({"x": SHAPE}, body), _samples()
    better = EqualizeActivations(samples)(mod)
    assert operators(better) == operators(mod)
    before, after = _values(mod, samples), _values(better, samples)
    # Behind the relu, and behind the depthwise convolution.
    for place in (2, 3):
        assert np.ptp(np.log(_sizes(before[place]))) > 0.5
        np.testing.assert_allclose(_sizes(after[place]), _sizes(after[place])[0], rtol=1e-4)
    # Products of 36 terms, whose factors have been rounded once more.
    np.testing.assert_allclose(after[-1], before[-1], rtol=1e-4, atol=1e-4 * np.abs(before[-1]).max())


def test_what_an_addition_joins_has_the_same_factors():
    def body(b, x):
        first = _conv(b, x, _wide(1))
        total = b.add(relax.op.add(first, _conv(b, first, _wide(2))))
        return _conv(b, total, random(3, 4, 1, 1, seed=3))

    mod, samples = module({"x": SHAPE}, body), _samples()
    (group,) = groups_of(mod)
    assert (len(group.producers), len(group.consumers), len(group.read)) == (2, 2, 2)
    before, after = _values(mod, samples), _values(EqualizeActivations(samples)(mod), samples)
    largest = np.maximum(_sizes(after[0]), _sizes(after[2]))
    np.testing.assert_allclose(largest, largest[0], rtol=1e-4)
    np.testing.assert_allclose(after[-1], before[-1], rtol=1e-4, atol=1e-4 * np.abs(before[-1]).max())


def test_a_limit_stays():
    def body(b, x):
        wide = b.add(relax.op.clip(_conv(b, x, _wide(1)), 0, 6))
        return _conv(b, wide, random(3, 4, 1, 1, seed=3))

    mod, samples = module({"x": SHAPE}, body), _samples()
    before, after = _values(mod, samples), _values(EqualizeActivations(samples)(mod), samples)
    assert before[1].max(axis=(0, 1, 3, 4))[3] == 6.0  # the one channel that reaches it
    np.testing.assert_array_equal(after[1][:, :, 3], before[1][:, :, 3])
    assert after[1][:, :, :3].max() <= 6.0 * (1 + 1e-6)
    assert (_sizes(after[1])[:3] > _sizes(before[1])[:3]).all()
    np.testing.assert_allclose(after[-1], before[-1], rtol=1e-4, atol=1e-4 * np.abs(before[-1]).max())


def test_strength():
    def body(b, x):
        return _conv(b, _conv(b, x, _wide(1)), random(3, 4, 1, 1, seed=3))

    mod, samples = module({"x": SHAPE}, body), _samples()
    before = _sizes(_values(mod, samples)[0])
    half = _sizes(_values(EqualizeActivations(samples, strength=0.5)(mod), samples)[0])
    np.testing.assert_allclose(np.ptp(np.log(half)), np.ptp(np.log(before)) / 2, rtol=1e-3)


def test_a_channel_that_hardly_fires_is_not_enlarged_without_limit():
    weight = _wide(1)
    weight[0] *= 1e-6

    def body(b, x):
        return _conv(b, _conv(b, x, weight), random(3, 4, 1, 1, seed=3))

    mod, samples = module({"x": SHAPE}, body), _samples()
    before, after = (_sizes(_values(form, samples)[0]) for form in (mod, EqualizeActivations(samples)(mod)))
    np.testing.assert_allclose(after[0] / before[0], 32.0, rtol=1e-5)
    np.testing.assert_allclose(after[1:], after[1], rtol=1e-4)


def test_what_only_depthwise_operators_read_is_alike_at_any_strength():
    def body(b, x):
        deep = _conv(b, _conv(b, x, _wide(1)), random(4, 1, 3, 3, seed=2), groups=4, padding=1)
        return _conv(b, deep, random(3, 4, 1, 1, seed=3))

    mod, samples = module({"x": SHAPE}, body), _samples()
    wide, deep = map(_sizes, _values(EqualizeActivations(samples, strength=0.25)(mod), samples)[:2])
    np.testing.assert_allclose(wide, wide[0], rtol=1e-4)
    assert np.ptp(np.log(deep)) > 0.3


@pytest.mark.parametrize(
    "behind",
    [
        lambda b, x: x,  # the model's result
        lambda b, x: _conv(b, b.add(relax.op.sigmoid(x)), random(3, 4, 1, 1)),
        lambda b, x: _conv(b, b.add(relax.op.add(x, const(1, 4, 6, 6))), random(3, 4, 1, 1)),
        lambda b, x: _conv(b, b.add(relax.op.concat([x, x], 1)), random(3, 8, 1, 1)),
        lambda b, x: b.add(relax.op.matmul(x, const(6, 5))),
    ],
)
def test_values_that_are_left_alone(behind):
    mod = module({"x": SHAPE}, lambda b, x: behind(b, _conv(b, x, _wide(1))))
    assert groups_of(mod) == []
    assert EqualizeActivations([])(mod).same_as(mod)


def test_weights_of_two_layers_are_left_alone():
    weight = const(4, 4, 1, 1)

    def body(b, x):
        return b.add(relax.op.nn.conv2d(b.add(relax.op.nn.conv2d(x, weight)), weight))

    assert groups_of(module({"x": SHAPE}, body)) == []


def test_bad_input():
    mod = module({"x": SHAPE}, lambda b, x: _conv(b, _conv(b, x, _wide(1)), _wide(2)))
    with pytest.raises(TvmqError, match="strength of equalization must be from 0 to 1, got 2"):
        EqualizeActivations([], strength=2)
    with pytest.raises(TvmqError, match="no calibration samples"):
        EqualizeActivations([])(mod)
    with pytest.raises(TvmqError, match="NaN or infinity"):
        EqualizeActivations([{"x": np.full(SHAPE, np.nan, "float32")}])(mod)
