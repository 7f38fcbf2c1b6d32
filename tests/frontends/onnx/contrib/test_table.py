"""onnxruntime's operators: the formulas of its documentation; each was compared with onnxruntime 1.32 too."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ...nodes import floats, one_node, run_node

# Few operators on numbers of order 1, in another order than here.
CLOSE = {"rtol": 1e-5, "atol": 2e-6}
EPSILON = 1e-5


def contrib(*args, **how) -> list[np.ndarray]:
    return run_node(*args, domain="com.microsoft", **how)


def layer_norm(x, gamma, beta=0.0):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * gamma + beta


def rms_norm(x, gamma):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * gamma


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


X, BIAS = floats(2, 3, 8), floats(8, seed=1)
SKIP, GAMMA, BETA = floats(2, 3, 8, seed=2), floats(8, seed=3), floats(8, seed=4)


@pytest.mark.parametrize(
    ("op_type", "inputs", "expected"),
    [
        ("QuickGelu", [X], X / (1 + np.exp(-1.702 * X))),
        ("Gelu", [X], gelu(X)),
        ("BiasGelu", [X, BIAS], gelu(X + BIAS)),
        ("FastGelu", [X], gelu_tanh(X)),
        ("FastGelu", [X, BIAS], gelu_tanh(X + BIAS)),
        ("BiasAdd", [X, BIAS, SKIP], X + BIAS + SKIP),
        ("TransposeMatMul", [X, SKIP], X @ SKIP.transpose(0, 2, 1)),
    ],
)
def test_plain(op_type: str, inputs: list[np.ndarray], expected: np.ndarray) -> None:
    attributes = {"transB": 1} if op_type == "TransposeMatMul" else {}
    np.testing.assert_allclose(contrib(op_type, *inputs, **attributes)[0], expected, **CLOSE)


@pytest.mark.parametrize("domain", ["onnx.brevitas", "qonnx.custom_op.general"])
def test_bipolar_quant(domain) -> None:
    x = np.array([-2.0, -1e-30, -0.0, 0.0, 1e-30, 3.0], np.float32)
    (result,) = run_node("BipolarQuant", x, np.array(0.5, np.float32), domain=domain)
    np.testing.assert_array_equal(result, np.float32([-0.5, -0.5, 0.5, 0.5, 0.5, 0.5]))


@pytest.mark.parametrize(("beta", "bias"), [(None, None), (BETA, None), (BETA, BIAS), (None, BIAS)])
def test_skip_layer_normalization(beta, bias) -> None:
    inputs = [X, SKIP, GAMMA, beta, bias]
    while inputs[-1] is None:
        inputs.pop()
    (result,) = contrib("SkipLayerNormalization", *inputs, epsilon=EPSILON)
    total = X + SKIP + (0 if bias is None else bias)
    np.testing.assert_allclose(result, layer_norm(total, GAMMA, 0 if beta is None else beta), **CLOSE)


def test_simplified_normalizations() -> None:
    (result,) = contrib("SkipSimplifiedLayerNormalization", X, SKIP, GAMMA, BIAS, epsilon=EPSILON)
    np.testing.assert_allclose(result, rms_norm(X + SKIP + BIAS, GAMMA), **CLOSE)
    (result,) = run_node("SimplifiedLayerNormalization", X, GAMMA, axis=-1, epsilon=EPSILON)
    np.testing.assert_allclose(result, rms_norm(X, GAMMA), **CLOSE)


@pytest.mark.parametrize("segments", [True, False])
def test_embed_layer_normalization(segments: bool) -> None:
    rng = np.random.default_rng(0)
    ids, parts = rng.integers(0, 10, (2, 4)).astype("int32"), rng.integers(0, 2, (2, 4)).astype("int32")
    words, positions, kinds = floats(10, 8), floats(6, 8, seed=1), floats(2, 8, seed=2)
    mask = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], "int32")
    inputs = [
        ids,
        parts if segments else None,
        words,
        positions,
        kinds if segments else None,
        GAMMA,
        BETA,
        mask,
    ]
    result, count = contrib("EmbedLayerNormalization", *inputs, outputs=2, epsilon=EPSILON)
    total = words[ids] + positions[None, :4] + (kinds[parts] if segments else 0)
    np.testing.assert_allclose(result, layer_norm(total, GAMMA, BETA), **CLOSE)
    np.testing.assert_array_equal(count, [3, 2])


ACTIVATIONS = {
    "Relu": ([], lambda x: np.maximum(x, 0)),
    "LeakyRelu": ([0.1], lambda x: np.where(x < 0, 0.1 * x, x)),
    "Clip": ([-0.5, 0.5], lambda x: np.clip(x, -0.5, 0.5)),
    "HardSigmoid": ([0.2, 0.5], lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    "Tanh": ([], np.tanh),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fused_conv(activation: str) -> None:
    parameters, function = ACTIVATIONS[activation]
    x, w, b, z = floats(1, 4, 3, 5), floats(6, 4, 1, 1, seed=1), floats(6, seed=2), floats(1, 6, 3, 5, seed=3)
    attributes = {"activation_params": parameters} if parameters else {}
    (result,) = contrib("FusedConv", x, w, b, z, constants=(1, 2), activation=activation, **attributes)
    product = np.einsum("nchw,oc->nohw", x, w[:, :, 0, 0]) + b[:, None, None] + z
    np.testing.assert_allclose(result, function(product), **CLOSE)


def test_fused_gemm() -> None:
    a, b, c = floats(3, 4), floats(5, 4, seed=1), floats(5, seed=2)
    how = {"transB": 1, "alpha": 0.5, "beta": 2.0, "activation": "LeakyRelu", "activation_alpha": 0.2}
    (result,) = contrib("FusedGemm", a, b, c, constants=(1, 2), **how)
    product = 0.5 * a @ b.T + 2 * c
    np.testing.assert_allclose(result, np.where(product < 0, 0.2 * product, product), **CLOSE)


@pytest.mark.parametrize(
    ("attributes", "left", "right", "equation"),
    [
        ({"transB": 1}, (2, 3, 4), (2, 5, 4), "bmk,bnk->bmn"),
        ({"transA": 1}, (2, 4, 3), (2, 4, 5), "bkm,bkn->bmn"),
        ({"transBatchA": 1}, (3, 2, 4), (2, 4, 5), "mbk,bkn->bmn"),
        ({"transBatchB": 1}, (2, 3, 4), (4, 2, 5), "bmk,kbn->bmn"),
        ({"transBatchA": 1, "transA": 1}, (4, 2, 3), (2, 4, 5), "kbm,bkn->bmn"),
    ],
)
def test_fused_matmul(attributes: dict, left: tuple, right: tuple, equation: str) -> None:
    a, b = floats(*left), floats(*right, seed=1)
    (result,) = contrib("FusedMatMul", a, b, alpha=0.25, **attributes)
    np.testing.assert_allclose(result, 0.25 * np.einsum(equation, a, b), **CLOSE)


@pytest.mark.parametrize("inner", [0, 1])
def test_bias_softmax(inner: int) -> None:
    bias = floats(2, seed=1) if inner else floats(3, 8, seed=1)
    (result,) = contrib("BiasSoftmax", X, bias, axis=2, is_inner_broadcast=inner)
    power = np.exp(X + (bias[:, None, None] if inner else bias))
    np.testing.assert_allclose(result, power / power.sum(-1, keepdims=True), **CLOSE)


@pytest.mark.parametrize(
    ("op_type", "how", "message"),
    [
        ("FusedConv", {"activation": "Swish"}, "activation 'Swish' is unknown; valid: Clip"),
        ("QuickGelu", {"beta": 1.0}, "attribute 'beta' is unknown; valid: alpha"),
        ("BiasSoftmax", {}, "it has 3 inputs; expected 2$|it has 3 inputs; expected 2;"),
        ("QLinearAdd", {}, "it has 3 inputs; expected 7 to 8"),
        ("QLinearConcat", {"axis": 1}, "it has 3 inputs; expected 2 or more|three for each tensor"),
        ("GroupNorm", {"epsilon": 0.1}, "it lacks the attribute 'groups'"),
        ("SkipLayerNormalization", {"outputs": 2}, "its output 1 is not supported"),
    ],
)
def test_what_is_refused(op_type: str, how: dict, message: str) -> None:
    inputs = {"FusedConv": [floats(1, 1, 2, 2), floats(1, 1, 1, 1)], "QuickGelu": [X]}.get(
        op_type, [X, SKIP, GAMMA]
    )
    model, _ = one_node(op_type, *inputs, domain="com.microsoft", **how)
    with pytest.raises(TvmqError, match=rf"'node' \({op_type}\) cannot be imported: .*{message}"):
        load_onnx(model)
