"""Recurrent layers from the user's options to integers: which are quantized, and what they give."""

from __future__ import annotations

import numpy as np
import pytest

import tvmq
from tests.frontends.nodes import floats, one_node
from tvmq.passes.hub.graph import bindings_of, to_numpy
from tvmq.passes.hub.layers import get_layers
from tvmq.passes.hub.recurrences import RECURRENT_WEIGHTS, WEIGHTS, kernel_of, operands_of, recurrences
from tvmq.passes.realize.recurrences import realize_recurrences
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

SIZE, HIDDEN = 12, 20
INTEGERS = "int8, by states of 8 bits with a scale for each sample and step"


def layer(op: str, directions: int = 1, constants: tuple[int, ...] = (1, 2, 3), **how) -> tuple:
    width = {"LSTM": 4, "GRU": 3, "RNN": 1}[op] * HIDDEN
    bound = HIDDEN**-0.5
    return one_node(
        op, floats(6, 3, SIZE), floats(directions, width, SIZE, seed=1, low=-bound, high=bound),
        floats(directions, width, HIDDEN, seed=2, low=-bound, high=bound),
        floats(directions, 2 * width, seed=3, low=-bound, high=bound), constants=constants,
        hidden_size=HIDDEN, outputs=2, **how,
    )  # fmt: skip


def record(package: tvmq.Package) -> dict:
    (found,) = package.metadata["layers"]
    return found


@pytest.mark.parametrize("scheme", ["dynamic", "int8"])
@pytest.mark.parametrize(
    ("op", "how"),
    [
        ("LSTM", {}),
        ("LSTM", {"direction": "bidirectional", "directions": 2}),
        ("GRU", {"direction": "reverse"}),
        ("GRU", {"linear_before_reset": 1}),
        ("RNN", {"activations": ["LeakyRelu"], "activation_alpha": [0.1]}),
    ],
)
def test_results_are_near_the_float_ones(scheme: str, op: str, how: dict) -> None:
    model, feeds = layer(op, **how)
    samples = {"calibration": [feeds]} if scheme == "int8" else {}
    package = tvmq.compile(tvmq.quantize(model, scheme, **samples))
    assert record(package)["status"] == scheme
    assert record(package)["details"][RECURRENT_WEIGHTS] == INTEGERS
    for result, expected in zip(
        package.run(feeds).values(), tvmq.compile(model).run(feeds).values(), strict=True
    ):
        # Weights and states have 8 bits: each of the products is off by a few hundredths of what it is at most.
        np.testing.assert_allclose(result, expected, atol=0.03)
        assert np.abs(expected).max() > 0.2


def test_the_simulation_rounds_the_weights() -> None:
    model, _ = layer("GRU")
    quantized = tvmq.quantize(model, "dynamic")
    mod = quantized.mod
    (kernel,) = recurrences(mod)
    assert kernel.name_hint == "gru"
    assert "R.dequantize" in mod["main"].script()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"skip_layers": ("node",)}, "skipped by layer 'node'"),
        ({"skip_ops": ("LSTM",)}, "skipped by operator type 'LSTM'"),
        ({"min_weight_size": 10**6}, "its 1600 weights are fewer than the smallest size, 1000000"),
    ],
)
def test_what_stays_float(options: dict, reason: str) -> None:
    model, feeds = layer("LSTM")
    package = tvmq.compile(tvmq.quantize(model, "dynamic", options=tvmq.QuantizeOptions(**options)))
    assert record(package)["details"][RECURRENT_WEIGHTS] == f"float: {reason}"
    for result, expected in zip(
        package.run(feeds).values(), tvmq.compile(model).run(feeds).values(), strict=True
    ):
        np.testing.assert_allclose(result, expected, atol=1e-6)


def test_weights_that_vary_stay_float() -> None:
    model, _ = layer("LSTM", constants=(1, 3))
    package = tvmq.compile(tvmq.quantize(model, "dynamic"))
    assert record(package)["details"][RECURRENT_WEIGHTS] == "float: its recurrent weights are not constant"


def test_a_gpu_keeps_floats() -> None:
    model, _ = layer("LSTM")
    (found,) = tvmq.quantize(model, "dynamic", target="cuda -arch=sm_80").layers
    assert found.details[RECURRENT_WEIGHTS] == "float: the target has no kernel of recurrences on integers"


def test_a_gpu_takes_integer_weights_as_floats() -> None:
    model, _ = layer("LSTM")
    row = row_of(parse_target("cuda -arch=sm_80"))
    realized = realize_recurrences(tvmq.quantize(model, "dynamic").mod, row)
    (call,) = [binding.value for binding in bindings_of(realized) if kernel_of(binding.value) is not None]
    weights = to_numpy(operands_of(call)[WEIGHTS])
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, floats(1, 4 * HIDDEN, HIDDEN, seed=2)[0].T * HIDDEN**-0.5, atol=0.005)
    (found,) = get_layers(realized)
    assert found.details[RECURRENT_WEIGHTS] == "float: a GPU has no kernel of recurrences on integers"


ARM = "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a{}"
TOLERANCE = 0.01
"""Of the last bit of a state, which rounds it to the next integer: a step of 1/127 of what is below 1."""


@pytest.mark.parametrize("cpu", [72, 76])
def test_arm(cpu: int, run_on_arm) -> None:
    model, feeds = layer("GRU")
    target = ARM.format(cpu)
    package = tvmq.compile(tvmq.quantize(model, "dynamic", target), target)
    results = run_on_arm(package, feeds, f"cortex-a{cpu}")
    for name, expected in tvmq.compile(tvmq.quantize(model, "dynamic")).run(feeds).items():
        np.testing.assert_allclose(results[name], expected, atol=TOLERANCE)


def test_a_c_library(run_c_library) -> None:
    model, feeds = layer("LSTM")
    quantized = tvmq.quantize(model, "dynamic")
    results = run_c_library(tvmq.compile_c_library(quantized, name="lstm"), feeds)
    for name, expected in tvmq.compile(quantized).run(feeds).items():
        np.testing.assert_allclose(results[name], expected, atol=TOLERANCE)


@pytest.mark.parametrize("rounding", ["hessian", "reconstruct"])
def test_methods_that_look_at_products_leave_recurrent_weights_to_the_nearest(rounding: str) -> None:
    model, feeds = layer("GRU")
    options = tvmq.QuantizeOptions(rounding=rounding)
    package = tvmq.compile(tvmq.quantize(model, "int8", calibration=[feeds], options=options))
    for result, expected in zip(
        package.run(feeds).values(), tvmq.compile(model).run(feeds).values(), strict=True
    ):
        np.testing.assert_allclose(result, expected, atol=0.03)
