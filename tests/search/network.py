"""A small network with a residual, samples for it, and how it is quantized."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import IRModule, relax

import tvmq
from tvmq import api
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.hub.graph import with_layer_name
from tvmq.passes.hub.layers import Layer, with_layers
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.pipeline import CalibrationData
from tvmq.search.recipe import Recipe

NEAREST = QuantizeOptions(rounding="nearest")
WEIGHTS = {"first": 8 * 3 * 9, "second": 8 * 8 * 9, "head": 8 * 5}


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def weight(*shape: int, seed: int = 1) -> relax.Expr:
    return relax.const(random(*shape, seed=seed))


def module(body: Callable[[Callable[..., relax.Var], relax.Var], relax.Var]) -> IRModule:
    """Return the module whose result is ``body(add, x)``; ``add(call, name)`` binds a layer."""
    builder, layers = relax.BlockBuilder(), []
    x = relax.Var("x", relax.TensorType((1, 3, 8, 8), "float32"))

    def add(call: relax.Call, name: str) -> relax.Var:
        layers.append(Layer(name, "Any"))
        return builder.emit(with_layer_name(call, name))

    with builder.function("main", [x]):
        with builder.dataflow():
            output = builder.emit_output(body(add, x))
        builder.emit_func_output(output)
    return with_layers(builder.get(), layers)


def network() -> IRModule:
    def body(add, x):
        x = add(relax.op.nn.relu(add(relax.op.nn.conv2d(x, weight(8, 3, 3, 3), padding=1), "first")), "relu")
        y = add(relax.op.nn.conv2d(x, weight(8, 8, 3, 3, seed=2), padding=1), "second")
        y = add(relax.op.nn.relu(add(relax.op.add(x, y), "sum")), "relu2")
        y = add(relax.op.nn.max_pool2d(y, (2, 2), strides=(2, 2)), "pool")
        y = add(relax.op.mean(y, [2, 3]), "mean")
        return add(relax.op.matmul(y, weight(8, 5, seed=3)), "head")

    return module(body)


def samples(count: int = 6) -> list[dict[str, np.ndarray]]:
    return [{"x": random(1, 3, 8, 8, seed=seed)} for seed in range(count)]


def recipe(options: QuantizeOptions = NEAREST, scheme: str = "mixed", count: int = 6) -> Recipe:
    return Recipe(get_scheme(scheme), None, options, CalibrationData(samples(count), api.run_on_host))


def scores(run, count: int = 6) -> np.ndarray:
    """Return the outputs for the samples, ``[count, 5]``."""
    return np.concatenate([next(iter(run(sample).values())) for sample in samples(count)])


def float_scores() -> np.ndarray:
    return scores(tvmq.compile(network()).run)
