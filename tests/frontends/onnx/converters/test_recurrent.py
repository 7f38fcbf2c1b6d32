"""LSTM, GRU and RNN of every direction, beside a step by step evaluation; what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ....differential import formulas
from ...nodes import floats, one_node, run_node

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DIRECTIONS = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
STEPS, BATCH, SIZE, HIDDEN = 5, 3, 4, 7


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [
        ("RNN", {}),
        ("GRU", {"linear_before_reset": 0}),
        ("GRU", {"linear_before_reset": 1, "clip": 0.3}),
        ("LSTM", {}),
        ("LSTM", {"input_forget": 1, "clip": 0.3}),
    ],
)
def test_with_lengths_and_first_states(op_type: str, attributes: dict, direction: str) -> None:
    count, width = len(DIRECTIONS[direction]), GATES[op_type] * HIDDEN
    x, w, r, b = (
        floats(STEPS, BATCH, SIZE),
        *(
            floats(count, *shape, seed=at)
            for at, shape in enumerate(((width, SIZE), (width, HIDDEN), (2 * width,)), 1)
        ),
    )
    h, c, p = (
        floats(count, BATCH, HIDDEN, seed=4),
        floats(count, BATCH, HIDDEN, seed=5),
        floats(count, 3 * HIDDEN, seed=6),
    )
    lengths = np.array([5, 3, 1], np.int32)
    rest = [c, p] if op_type == "LSTM" else []
    results = run_node(
        op_type, x, w, r, b, lengths, h, *rest, constants=(1, 2, 3, 7), outputs=3 if rest else 2,
        hidden_size=HIDDEN, direction=direction, **attributes,
    )  # fmt: skip
    expected = formulas.recurrent(
        op_type, x, w, r, b, lengths, h, c, p if rest else 0 * p, DIRECTIONS[direction], attributes.get("clip"),
        attributes.get("input_forget", 0), attributes.get("linear_before_reset", 0),
    )  # fmt: skip
    for result, wanted in zip(results, expected, strict=True):
        # Five steps of sums of at most 7 products below 1, each rounded to 2^-24.
        np.testing.assert_allclose(result, wanted, atol=5 * 7 * 2.0**-22)


FORMULAS = {
    "Affine": lambda x: 0.5 * x + 0.1,
    "Elu": lambda x: np.where(x > 0, x, 0.5 * np.expm1(x)),
    "HardSigmoid": lambda x: np.clip(0.5 * x + 0.1, 0, 1),
    "LeakyRelu": lambda x: np.where(x > 0, x, 0.5 * x),
    "Relu": lambda x: np.maximum(x, 0),
    "ScaledTanh": lambda x: 0.5 * np.tanh(0.1 * x),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Softplus": lambda x: np.log1p(np.exp(x)),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "ThresholdedRelu": lambda x: np.where(x > 0.5, x, 0),
}


@pytest.mark.parametrize("activation", FORMULAS)
def test_activations(activation: str) -> None:
    x, w, r = floats(1, 2, 3), floats(1, 4, 3, seed=1, low=-2, high=2), floats(1, 4, 4)
    how = {"activations": [activation], "activation_alpha": [0.5], "activation_beta": [0.1]}
    result, _ = run_node("RNN", x, w, r, constants=(1, 2), outputs=2, hidden_size=4, **how)
    np.testing.assert_allclose(result[:, 0], FORMULAS[activation](x @ w[0].T), rtol=1e-5, atol=1e-6)


def test_float16() -> None:
    x, w, r = (array.astype("float16") for array in (floats(2, 1, 3), floats(1, 4, 3), floats(1, 4, 4)))
    assert [array.dtype for array in run_node("RNN", x, w, r, outputs=2, hidden_size=4)] == ["float16"] * 2


def test_products_with_the_input_are_quantized() -> None:
    model, feeds = one_node(
        "LSTM", floats(6, 1, 8), floats(1, 20, 8), floats(1, 20, 5), constants=(1, 2), hidden_size=5
    )
    package = tvmq.compile(tvmq.quantize(model, "int8", calibration=[feeds]))
    (float_result,) = tvmq.compile(model).run(feeds).values()
    (result,) = package.run(feeds).values()
    assert [layer["status"] for layer in package.metadata["layers"]] == ["int8"]
    np.testing.assert_allclose(result, float_result, atol=0.02)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"activations": ["Cube"]}, "activation 'Cube' is unknown; valid: Affine"),
        ({"activations": ["Tanh", "Tanh"]}, "1 activations are expected, and 2 are given"),
        ({"direction": "bidirectional"}, "weights of 2 directions are expected, and 1 are given"),
    ],
)
def test_what_is_refused(how: dict, message: str) -> None:
    model: onnx.ModelProto = one_node(
        "RNN", floats(2, 1, 3), floats(1, 4, 3), floats(1, 4, 4), hidden_size=4, **how
    )[0]
    with pytest.raises(TvmqError, match=message):
        load_onnx(model)
