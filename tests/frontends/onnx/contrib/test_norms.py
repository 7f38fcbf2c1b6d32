"""Group norms, which onnxruntime has for GPUs alone, beside their formula; sums before norms beside onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ...nodes import floats, one_node, run_node
from .oracle import CLOSE, assert_same

GROUPS, EPSILON = 4, 1e-5
GAMMA, BETA, BIAS = (floats(8, seed=seed) for seed in (1, 2, 3))


def formula(x: np.ndarray, activation: int) -> np.ndarray:
    """Of [N, H, W, C]."""
    rows = x.astype(np.float64).reshape(2, -1, GROUPS, 8 // GROUPS)
    rows = rows - rows.mean((1, 3), keepdims=True)
    rows = rows / np.sqrt((rows**2).mean((1, 3), keepdims=True) + EPSILON)
    result = rows.reshape(x.shape) * GAMMA + BETA
    return result / (1 + np.exp(-result)) if activation else result


@pytest.mark.parametrize("channels_last", [0, 1])
@pytest.mark.parametrize("activation", [0, 1])
def test_group_norm(activation: int, channels_last: int) -> None:
    x = floats(2, 3, 5, 8)
    how = {
        "groups": GROUPS,
        "activation": activation,
        "channels_last": channels_last,
        "domain": "com.microsoft",
    }
    given = x if channels_last else x.transpose(0, 3, 1, 2)
    (result,) = run_node("GroupNorm", given, GAMMA, BETA, constants=(1, 2), **how)
    result = result if channels_last else result.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(result, formula(x, activation), atol=CLOSE)


@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize("bias", [None, BIAS])
def test_skip_group_norm(by_channel: bool, bias) -> None:
    x, skip = floats(2, 3, 5, 8), floats(2, 8) if by_channel else floats(2, 3, 5, 8, seed=7)
    inputs = [x, GAMMA, BETA, skip, *([] if bias is None else [bias])]
    how = {"groups": GROUPS, "activation": 0, "domain": "com.microsoft", "outputs": 2}
    result, total = run_node("SkipGroupNorm", *inputs, **how)
    expected = x + (skip[:, None, None] if by_channel else skip) + (0 if bias is None else bias)
    np.testing.assert_allclose(total, expected, atol=CLOSE)
    np.testing.assert_allclose(result, formula(expected, 0), atol=CLOSE)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"groups": 3, "activation": 0}, "3 groups do not divide 8 channels"),
        ({"groups": 4, "activation": 2}, "activation 2 is unknown; 0 is none, and 1 is SiLU"),
    ],
)
def test_what_is_refused(attributes: dict, message: str) -> None:
    model, _ = one_node("GroupNorm", floats(2, 3, 5, 8), GAMMA, BETA, domain="com.microsoft", **attributes)
    with pytest.raises(TvmqError, match=rf"'node' \(GroupNorm\) cannot be imported: {message}"):
        load_onnx(model)


X = floats(2, 3, 8)


@pytest.mark.parametrize("skip", [X[::-1], X[:1], X[0]], ids=["each", "one", "rows"])
@pytest.mark.parametrize("op_type", ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
def test_a_skip_may_be_one_for_all(op_type: str, skip: np.ndarray) -> None:
    model_inputs = [X, np.ascontiguousarray(skip), GAMMA, BETA]
    assert_same(op_type, *model_inputs, epsilon=EPSILON, constants=(2, 3))
