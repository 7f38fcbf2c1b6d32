"""One bit for layers that were not trained for it: which, with which numbers, and what is said of it."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from tvm import relax

from tvmq import QuantizeOptions, TvmqError
from tvmq.passes.hub.graph import bindings_of, op_name, to_numpy
from tvmq.passes.hub.two_valued import binary_layers, two_valued
from tvmq.passes.improve.binarize import Binarize
from tvmq.passes.prepare.prepare import Prepare

from ..modules import module, random

SHAPE = (1, 4, 8, 8)
WEIGHTS = [
    random(*shape, seed=seed)
    for seed, shape in enumerate([(8, 4, 3, 3), (8, 8, 3, 3), (8, 1, 3, 3), (6, 8, 1, 1)])
]


def network(relu=False):
    """Return four convolutions, the third depthwise: ``a``, ``b``, ``c``, ``d``."""

    def body(builder, x):
        for name, weight in zip("abcd", WEIGHTS, strict=True):
            groups = 8 if weight.shape[1] == 1 else 1
            x = builder.add(
                relax.op.nn.conv2d(x, relax.const(weight), padding=1, groups=groups), name, "Conv"
            )
            if relu and name != "d":
                x = builder.add(relax.op.nn.relu(x), f"{name}/relu", "Relu")
        return x

    return Prepare()(module({"x": SHAPE}, body))


def samples(count=4):
    return [{"x": random(*SHAPE, seed=seed)} for seed in range(count)]


def binarized(mod, **said):
    options = QuantizeOptions(**{key: value for key, value in said.items() if key != "all_layers"})
    return Binarize(samples(), options=options, all_layers=said.get("all_layers", True))(mod)


def on_bits(mod):
    layers = [b for b in bindings_of(mod) if op_name(b.value) == "relax.nn.conv2d"]
    found = binary_layers(mod)
    return [name for name, binding in zip("abcd", layers, strict=True) if binding.var in found]


def test_all_but_the_first_the_last_and_depthwise_ones():
    assert on_bits(network()) == []
    assert on_bits(binarized(network())) == ["b"]
    assert on_bits(binarized(network(), bits={"b": 4})) == []
    assert on_bits(binarized(network(), skip_layers=("b",))) == []
    assert on_bits(binarized(network(), bits={"a": 1, "[bd]": (1, 1)}, all_layers=False)) == ["a", "b", "d"]
    assert on_bits(binarized(network(), all_layers=False)) == []


@pytest.mark.parametrize("relu", [False, True])
def test_numbers_are_those_of_least_squared_error(relu):
    mod = binarized(network(relu))
    (step,) = two_valued(mod).values()
    weight = next(to_numpy(b.value.args[1]) for b in bindings_of(mod) if b.var in binary_layers(mod))
    size = np.abs(WEIGHTS[1]).mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(weight, np.where(WEIGHTS[1] >= 0, size, -size), rtol=1e-6)
    if relu:
        assert step.low == 0.0 and step.threshold == pytest.approx(step.high / 2)
    else:
        assert step.low == -step.high and step.threshold == 0.0
    assert step.high > 0.0


def test_what_is_left_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        binarized(network())
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(
        "1 layer has one bit now, for which the model was not trained: on 4 samples the cosine"
    )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"bits": {"c": 1}}, "layer 'c' cannot have 1 bit: each of its sums has a channel's few products"),
        ({"bits": {"e": 1}}, "no layer 'e' can have 1 bit: none of that name multiplies by constant weights"),
    ],
)
def test_layers_that_cannot(said, message):
    with pytest.raises(TvmqError, match=message):
        binarized(network(), all_layers=False, **said)


def test_it_needs_samples():
    with pytest.raises(TvmqError, match="no calibration samples to measure one-bit activations"):
        Binarize([])(network())
