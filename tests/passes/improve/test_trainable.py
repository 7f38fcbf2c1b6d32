"""A block in NumPy is the block of the module, and its gradients are those of its error."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.calibrate.watch import compile_for_host
from tvmq.passes.hub.graph import rebuild, shape_of
from tvmq.passes.hub.pairs import activation_pairs, float_form, weight_pairs
from tvmq.passes.hub.schemes import Scheme
from tvmq.passes.improve.backward import channels_last
from tvmq.passes.improve.blocks import blocks_of, cut_out
from tvmq.passes.improve.learned import FEW, Rates
from tvmq.passes.improve.trainable import NoRule, Through, Trainable

from ..modules import const, module
from .test_blocks import SHAPE, _network, mixed

LOW = Scheme("w3a4", weight_bits=3, activation_bits=4, edge_bits=3)


def _calibrated(body=_network):
    return Calibrate(mixed())(Annotate(LOW)(module({"x": SHAPE}, body)))


def _hub(body=_network):
    """Return a calibrated module that gives a tuple."""
    mod = _calibrated(body)
    return rebuild(mod, lambda builder, var, value: value, result=relax.Tuple([mod["main"].body.body]))


def _learns(mod):
    return {pair.dequantize for pair in weight_pairs(mod)} | {
        pair.dequantize for pair in activation_pairs(mod)
    }


@pytest.mark.parametrize("form", [lambda mod: mod, float_form])
def test_the_same_numbers_for_many_samples_at_once(form):
    mod, samples = form(_hub()), mixed(5)
    run = compile_for_host(mod)
    expected = np.concatenate([channels_last(run(sample)[0]) for sample in samples])
    data = np.concatenate([channels_last(sample["x"]) for sample in samples])
    (result,) = Trainable(mod).forward([data])
    # A value on the edge of two steps may fall to either side; what follows then differs by about a step.
    assert (np.abs(result - expected) < 1e-4 * np.abs(expected).max()).mean() > 0.98


def test_what_learns_begins_as_the_module_is():
    mod, data = _hub(), channels_last(mixed(1)[0]["x"])
    (plain,), learning = Trainable(mod).forward([data]), Trainable(mod, _learns(mod))
    np.testing.assert_allclose(learning.forward([data])[0], plain, rtol=1e-5, atol=1e-5)
    assert list(learning.weights) == [pair.name for pair in weight_pairs(mod)] == list(learning.shifts)
    assert list(learning.steps) == [pair.name for pair in activation_pairs(mod)]
    assert Trainable(mod).parameters == []


def test_weights_that_few_columns_have_been_seen_for_learn_slowly():
    mod = _hub()
    pair = weight_pairs(mod)[0]
    channels, height, width = shape_of(pair.readers[0])[1:]
    row = pair.values.size // channels
    for samples in (1, 1000):
        block = Trainable(mod, _learns(mod), Rates(places=0.01), samples=samples)
        places = block.weights[pair.name].places
        before = places.values.copy()
        places.gradient[...] = 1.0
        places.step(1.0)  # the first step of Adam is the rate
        columns = samples * height * width * len(pair.readers) / row
        np.testing.assert_allclose(before - places.values, 0.01 * columns / (columns + FEW), rtol=1e-3)


def test_gradients_go_through_branches_to_the_biases():
    """Of all that learns, the error is smooth in the shift of the last layer, which nothing rounds behind."""
    mod = _hub()
    block, data = Trainable(mod, _learns(mod)), channels_last(mixed(1)[0]["x"])
    (shift,) = block.shifts["head"]
    block.forward([data])
    shift.share.values[:] = 0.05  # where all it reads is zero, zero is the kink of the relu behind
    (result,) = block.forward([data])
    gradient = np.random.default_rng(0).standard_normal(result.shape).astype("float32")
    block.backward([gradient])
    found = shift.share.gradient.copy()
    for channel in (0, 5):
        sides = []
        for step in (-1e-3, 1e-3):
            shift.share.values[channel] = 0.05 + step
            sides.append(float((block.forward([data])[0].astype(np.float64) * gradient).sum()))
        shift.share.values[channel] = 0.05
        np.testing.assert_allclose(found[channel], (sides[1] - sides[0]) / 2e-3, rtol=0.02, atol=1e-2)
    assert all(parameter.gradient.any() for parameter in block.parameters)


def test_a_block_seen_through_what_follows_has_the_gradients_of_both():
    mod = _calibrated()
    first, *rest = blocks_of(mod)
    outputs = [*first.outputs, *(var for block in rest for var in block.outputs)]
    part = cut_out(mod, first.inputs, first.outputs)
    behind = float_form(cut_out(mod, first.outputs, outputs[1:]))
    through = Through(Trainable(part, _learns(part)), Trainable(behind))
    data = channels_last(mixed(1)[0]["x"])
    results = through.forward([data])
    alone = Trainable(part, _learns(part))
    (own,) = alone.forward([data])
    np.testing.assert_array_equal(results[0], own)
    assert len(results) == len(outputs)
    for one, other in zip(results[1:], Trainable(behind).forward([own]), strict=True):
        np.testing.assert_array_equal(one, other)

    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(result.shape).astype("float32") for result in results]
    (of_input,) = through.backward(gradients)
    # By hand: what comes back through what follows, and the gradient of the block's own result.
    follows = Trainable(behind)
    follows.forward([own])
    (back,) = follows.backward(gradients[1:])
    (expected,) = alone.backward([gradients[0] + back])
    np.testing.assert_allclose(of_input, expected, rtol=1e-5, atol=1e-5)
    assert all(parameter.gradient.any() for parameter in through.parameters)
    for one, other in zip(through.parameters, alone.parameters, strict=True):
        np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-4, atol=1e-4)


def test_gradients_that_are_none_stand_for_zero():
    mod = module(
        {"x": SHAPE, "y": SHAPE},
        lambda b, x, y: b.add(relax.op.nn.conv2d(x, const(3, 4, 1, 1)), "result"),
    )
    mod = rebuild(mod, lambda builder, var, value: value, result=relax.Tuple([mod["main"].body.body]))
    block, data = Trainable(mod), channels_last(mixed(1)[0]["x"])
    (result,) = block.forward([data, data])
    of_x, of_y = block.backward([np.ones_like(result)])
    assert of_x.shape == data.shape and of_y is None
    assert block.backward([None]) == [None, None]


@pytest.mark.parametrize(
    "behind, message",
    [
        (lambda b, x: b.add(relax.op.sigmoid(x), "gate"), "sigmoid of layer 'gate'"),
        (
            lambda b, x: b.add(relax.op.nn.conv2d(x, const(4, 2, 1, 1), groups=2), "two"),
            "nn.conv2d of layer 'two'",
        ),
    ],
)
def test_operators_without_a_gradient(behind, message):
    mod = module(
        {"x": SHAPE}, lambda b, x: behind(b, b.add(relax.op.nn.conv2d(x, const(4, 4, 1, 1)), "first"))
    )
    with pytest.raises(NoRule, match=message):
        Trainable(mod)
