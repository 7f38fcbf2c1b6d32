"""Mixtures on one compiled module against the models that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

import tvmq
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.prepare.prepare import Prepare
from tvmq.search.accuracy_control import named_run
from tvmq.search.layers import quantized_layers
from tvmq.search.mixtures import mixtures_of
from tvmq.search.recipe import FLOAT, options_with
from tvmq.search.sensitivity import sensitivity
from tvmq.search.state import SearchState

from .network import NEAREST, WEIGHTS, float_scores, module, network, recipe, samples, scores, weight

VARIANTS = {bits: {"*": bits} for bits in (3, 8)}
ALL = ("first", "second", "sum", "mean", "head")


@pytest.fixture(scope="module")
def mod():
    return Prepare()(network())


@pytest.fixture(scope="module")
def mixtures(mod):
    return mixtures_of(mod, recipe(), VARIANTS, samples())


def _run(mixtures, bits):
    return scores(lambda sample: {"output": mixtures.run(sample, bits)[0]})


def test_layers_know_their_weights_and_what_they_read(mod):
    layers = {layer.name: layer for layer in quantized_layers(Annotate(get_scheme("w4a8"))(mod))}
    assert {name: layer.weights for name, layer in layers.items() if layer.weights} == WEIGHTS
    assert {name: layers[name].bits for name in WEIGHTS} == {"first": 8, "second": 4, "head": 8}
    # Activations are named by the layer whose kernel gives them. The pool only moves values.
    assert layers["first"].activations == {"x"}
    assert layers["second"].activations == layers["sum"].activations == {"first"}
    assert layers["mean"].activations == {"sum"}
    assert layers["head"].activations == {"mean"}
    assert "pool" not in layers


def test_nothing_quantized_is_the_float_model(mixtures):
    np.testing.assert_allclose(_run(mixtures, {}), float_scores(), rtol=1e-4, atol=1e-4)
    assert mixtures.error({}) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    "bits",
    [
        {"first": 8, "second": 8, "head": 8},
        {"first": 3, "second": 3, "head": 3},
        {"first": 8, "second": 3, "head": 8},
    ],
)
def test_a_mixture_is_the_model_quantized_with_its_bits(mod, mixtures, bits):
    mine = recipe(options_with(NEAREST, bits), scheme="int8")
    quantized = named_run(mine.quantized(mod), mine.data.runner)
    # Activations that lie between two steps may go either way.
    step = 2.0 * max(step.step for step in mixtures._steps.values())
    assert np.abs(_run(mixtures, {**dict.fromkeys(ALL, 8), **bits}) - scores(quantized)).max() < step


def test_a_layer_in_float_leaves_the_others(mixtures):
    quantized = _run(mixtures, dict.fromkeys(ALL, 3))
    without = _run(mixtures, {**dict.fromkeys(ALL, 3), "second": FLOAT})
    reference = float_scores()
    assert np.square(without - reference).sum() < np.square(quantized - reference).sum()


def test_errors_of_single_layers(mixtures):
    state = SearchState(None, "")
    errors = sensitivity(mixtures, dict.fromkeys(WEIGHTS, (3, 8, FLOAT)), state, weights_only=True)
    for layer in WEIGHTS:
        assert errors[layer][FLOAT] == 0.0
        assert 0.0 < errors[layer][8] < 0.1 * errors[layer][3]
        assert errors[layer][3] == mixtures.weight_error({layer: 3})
    # The activation that a layer reads adds to what its weights do.
    assert mixtures.error({"head": 8}) > 2 * errors["head"][8]


def test_weights_rounded_for_the_result_err_less(mod, mixtures):
    better = mixtures_of(mod, recipe(tvmq.QuantizeOptions()), VARIANTS, samples())
    few = dict.fromkeys(WEIGHTS, 3)
    assert better.weight_error(few) < 0.8 * mixtures.weight_error(few)


def test_a_shared_weight_is_one_unit():
    shared_weight = weight(3, 3, 1, 1)

    def body(add, x):
        first = add(relax.op.nn.relu(add(relax.op.nn.conv2d(x, shared_weight), "first")), "relu")
        return add(relax.op.nn.conv2d(first, shared_weight), "again")

    shared = mixtures_of(module(body), recipe(), VARIANTS, samples(2))
    assert {layer.name: layer.weights for layer in shared.layers} == {"first": 9, "again": 0}
    assert shared.weight_error({"first": 3}) > 10 * shared.weight_error({"first": 8})


def test_a_recipe_with_layers_in_float_keeps_the_parameters(mod):
    plain = recipe(scheme="int8")
    calibrated = plain.calibrated(mod)
    reverted = plain.without(["second"], mod, calibrated)
    assert reverted.options.skip_layers == ("second",)
    known = reverted.options.parameters.activations
    assert known == {name: known[name] for name in ("x", "first", "sum", "mean")}
    assert reverted.data == plain.data
