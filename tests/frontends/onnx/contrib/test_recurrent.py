"""onnxruntime's LSTM with integer weights, beside ONNX's with the numbers that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ...nodes import floats, one_node, run_node

SIZE, HIDDEN = 6, 5


def integers(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-100, 101, shape).astype(np.int8)


@pytest.mark.parametrize("by_column", [False, True])
def test_it_is_an_lstm_with_the_weights_values(by_column: bool) -> None:
    x, bias = floats(4, 2, SIZE), floats(2, 8 * HIDDEN, seed=1)
    w, r = integers(2, SIZE, 4 * HIDDEN, seed=2), integers(2, HIDDEN, 4 * HIDDEN, seed=3)
    shape = (2, 4 * HIDDEN) if by_column else (2,)
    scale = floats(*shape, seed=4, low=0.002, high=0.004)
    zero = np.full(shape, 3, np.int8)
    how = {"hidden_size": HIDDEN, "direction": "bidirectional", "outputs": 3}
    rest = (None, None, None, None, scale, zero, scale, zero)
    results = run_node(
        "DynamicQuantizeLSTM", x, w, r, bias, *rest,
        constants=(1, 2, 3, 8, 9, 10, 11), domain="com.microsoft", **how,
    )  # fmt: skip
    restored = [
        np.swapaxes((each.astype(np.float32) - 3) * scale.reshape(2, 1, -1), 1, 2).astype(np.float32)
        for each in (w, r)
    ]
    expected = run_node("LSTM", x, *restored, bias, constants=(1, 2, 3), **how)
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, atol=1e-6)


def test_weights_must_be_constant() -> None:
    scale, zero = np.ones(1, np.float32), np.zeros(1, np.int8)
    given = [
        floats(1, 1, SIZE),
        integers(1, SIZE, 4 * HIDDEN, seed=0),
        integers(1, HIDDEN, 4 * HIDDEN, seed=1),
    ]
    model, _ = one_node(
        "DynamicQuantizeLSTM", *given, *[None] * 5, scale, zero, scale, zero,
        constants=(1, 8, 9, 10, 11), domain="com.microsoft", hidden_size=HIDDEN,
    )  # fmt: skip
    with pytest.raises(TvmqError, match="its weights, their scales and zero points must be constant"):
        load_onnx(model)
