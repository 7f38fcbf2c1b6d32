"""Biases corrected layer by layer: no layer's mean is off, whatever stands before it."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.calibrate.watch import compile_for_host
from tvmq.passes.hub.graph import bindings_of, rebuild
from tvmq.passes.hub.pairs import float_form, weight_pairs
from tvmq.passes.hub.schemes import Scheme
from tvmq.passes.improve.bias_correction import CorrectBias
from tvmq.passes.improve.sequential_bias import CorrectBiasSequentially

from ..modules import const, module, random
from .test_blocks import SHAPE, mixed, network

LOW = Scheme("w3a3", weight_bits=3, activation_bits=3, edge_bits=3)


def _means(mod, samples) -> list[np.ndarray]:
    """Return the mean by channel of what each weighted operator and its bias give."""
    readers = [pair.readers[0] for pair in weight_pairs(mod)]
    values = {binding.value.args[0]: binding.var for binding in bindings_of(mod) if _is_add(binding.value)}
    outputs = relax.Tuple([values[reader] for reader in readers])
    return _run_means(rebuild(mod, _same, result=outputs), samples)


def _float_means(mod, samples) -> list[np.ndarray]:
    readers = [pair.readers[0] for pair in weight_pairs(mod)]
    values = {binding.value.args[0]: binding.var for binding in bindings_of(mod) if _is_add(binding.value)}
    outputs = relax.Tuple([values.get(reader, reader) for reader in readers])
    return _run_means(float_form(mod, outputs), samples)


def _run_means(mod, samples) -> list[np.ndarray]:
    run = compile_for_host(mod)
    found = [[value.mean(axis=(0, 2, 3), dtype=np.float64) for value in run(sample)] for sample in samples]
    return [np.mean(layer, axis=0) for layer in zip(*found, strict=True)]


def _is_add(value) -> bool:
    return isinstance(value, relax.Call) and getattr(value.op, "name", "") == "relax.add"


def _same(builder, var, value):
    return value


def _low():
    return Calibrate(mixed())(Annotate(LOW)(float_form(network())))


def test_no_mean_is_off():
    mod, samples = _low(), mixed()
    wanted = _float_means(mod, samples)
    corrected = CorrectBiasSequentially(samples)(mod)
    # Float32 sums of some hundred values of the order of 10.
    for mean, expected in zip(_means(corrected, samples), wanted, strict=True):
        np.testing.assert_allclose(mean, expected, atol=1e-4)
    assert [pair.name for pair in weight_pairs(corrected)] == [pair.name for pair in weight_pairs(mod)]
    for old, new in zip(weight_pairs(mod), weight_pairs(corrected), strict=True):
        np.testing.assert_array_equal(old.integers, new.integers)
    # The errors of the activations are in it, which the other correction leaves.
    plain = _means(CorrectBias(samples)(mod), samples)
    assert max(np.abs(mean - expected).max() for mean, expected in zip(plain, wanted, strict=True)) > 0.01


def test_a_weight_that_two_layers_read():
    weight = const(4, 4, 1, 1)

    def body(b, x):
        first = b.add(relax.op.nn.relu(b.add(relax.op.nn.conv2d(x, weight), "first")), "relu")
        return b.add(relax.op.nn.conv2d(first, weight), "second")

    samples = mixed()
    mod = Calibrate(samples)(Annotate(LOW)(module({"x": SHAPE}, body)))
    (pair,) = weight_pairs(mod)
    corrected = CorrectBiasSequentially(samples)(mod)
    (after,) = weight_pairs(corrected)
    assert len(pair.readers) == len(after.readers) == 2
    wanted = _run_means(float_form(mod, relax.Tuple(list(pair.readers))), samples)
    adds = [binding.var for binding in bindings_of(corrected) if _is_add(binding.value)]
    found = _run_means(rebuild(corrected, _same, result=relax.Tuple(adds)), samples)
    for mean, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mean, expected, atol=1e-4)


def test_bad_input():
    mod, samples = _low(), mixed(2)
    with pytest.raises(TvmqError, match="no calibration samples"):
        CorrectBiasSequentially([])(mod)
    with pytest.raises(TvmqError, match="calibration sample 1, input 'x': expected shape"):
        CorrectBiasSequentially([samples[0], {"x": random(1, 2, 3, 3)}])(mod)
    with pytest.raises(TvmqError, match="have no scale yet"):
        CorrectBiasSequentially(samples)(Annotate(LOW)(float_form(mod)))
    samples[1]["x"][:] = 3e38
    with pytest.raises(TvmqError, match="sample 1: layer 'block0.expand' has NaN"):
        CorrectBiasSequentially(samples)(mod)


def test_nothing_to_do_is_left_alone():
    mod = module({"x": SHAPE}, lambda b, x: b.add(relax.op.nn.relu(x)))
    assert CorrectBiasSequentially([])(mod).same_as(mod)
