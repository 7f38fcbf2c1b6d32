"""``QAttention`` and ``QEmbedLayerNormalization``, with fixed scales and with those of a ``DynamicQuantizeLinear``."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tvmq
from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ....onnx_node.path import compile_and_run
from ...nodes import floats, one_node
from .oracle import assert_same, int32

ROWS, WIDTH, HEADS = 5, 8, 2
SCALE, WEIGHT_SCALE = np.float32(0.02), np.float32(0.01)


def unsigned(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def signed(*shape: int, seed: int = 1) -> np.ndarray:
    """Return integers of 7 bits: products with uint8 of more saturate in onnxruntime's kernels without VNNI."""
    return np.random.default_rng(seed).integers(-63, 64, shape).astype(np.int8)


def attention(
    *, mask=None, past=None, weight=None, zero: int = 120, weight_zero: int = 0, batch: int = 2
) -> list:
    weight = signed(WIDTH, 3 * WIDTH) if weight is None else weight
    return [
        *(unsigned(batch, ROWS, WIDTH), weight, floats(3 * WIDTH), SCALE, WEIGHT_SCALE),
        *(mask, np.uint8(zero), np.asarray(weight_zero, weight.dtype), past),
    ]


@pytest.mark.parametrize(
    ("inputs", "attributes"),
    [
        (attention(mask=int32([ROWS, 2])), {"unidirectional": 1}),
        (attention(weight=unsigned(WIDTH, 3 * WIDTH), weight_zero=131), {}),
        (attention(past=floats(2, 2, HEADS, 3, WIDTH // HEADS, seed=3)), {"outputs": 2}),
    ],
    ids=["mask", "unsigned weights", "past"],
)
def test_attention(inputs, attributes):
    constants = [1, 2, 3, 4, *((5,) if inputs[5] is not None else ()), 6, 7]
    # The bias is rounded to the scale of the sums here: half a step of it in queries, keys and values.
    how = {"constants": constants, "num_heads": HEADS, "atol": 2 * SCALE * WEIGHT_SCALE}
    assert_same("QAttention", *inputs, **how, **attributes)


def test_attention_is_on_integers():
    """The product with the weights, whose operands both have 8 bits."""
    model, fed = one_node(
        "QAttention", *attention(), constants=[1, 2, 3, 4, 6, 7], domain="com.microsoft", num_heads=HEADS
    )
    assert {layer["status"] for layer in tvmq.compile(model).metadata["layers"]} == {"int8"}
    assert compile_and_run(model, fed)[0].shape == (2, ROWS, WIDTH)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"num_heads": HEADS, "do_rotary": 1}, "do_rotary and past_present_share_buffer are not supported"),
        ({"num_heads": 3}, "heads"),
        ({}, "it lacks the attribute 'num_heads'"),
    ],
)
def test_attention_that_is_refused(attributes, message):
    model, _ = one_node(
        "QAttention", *attention(), constants=[1, 2, 3, 4, 6, 7], domain="com.microsoft", **attributes
    )
    with pytest.raises(TvmqError, match=message):
        load_onnx(model)


@pytest.mark.parametrize(("has_segments", "has_mask"), [(True, True), (False, False)])
def test_embeddings(has_segments, has_mask):
    tables = [unsigned(30, WIDTH), unsigned(ROWS, WIDTH), unsigned(2, WIDTH) if has_segments else None]
    gamma, beta = unsigned(WIDTH), unsigned(WIDTH)
    scales = [np.float32(value) for value in (0.02, 0.03, 0.01, 0.004, 0.005)]
    zeros = [np.uint8(value) for value in (128, 120, 110, 3, 127)]
    if not has_segments:
        scales[2] = zeros[2] = None
    ids = int32([[1, 7, 29, 0, 3], [2, 2, 9, 11, 0]])
    segments = int32([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]]) if has_segments else None
    mask = int32([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]) if has_mask else None
    inputs = [ids, segments, *tables, gamma, beta, mask, *scales, *zeros]
    constants = [
        place for place in range(len(inputs)) if place not in (0, 1, 7) and inputs[place] is not None
    ]
    assert_same("QEmbedLayerNormalization", *inputs, constants=constants, outputs=2, epsilon=1e-5)


def test_embeddings_without_parameters():
    inputs = [int32([[1]]), None, unsigned(4, 8), unsigned(4, 8), None, unsigned(8), unsigned(8), None, SCALE]
    model, _ = one_node("QEmbedLayerNormalization", *inputs, domain="com.microsoft")
    with pytest.raises(TvmqError, match="it has 1 scales and zero points; expected 10"):
        load_onnx(model)


def _encoder(signed_weights: bool) -> onnx.ModelProto:
    """Return a layer of an encoder as ``quantize_dynamic`` leaves one that onnxruntime's optimizer has fused."""
    node, microsoft = helper.make_node, {"domain": "com.microsoft"}
    pick = signed if signed_weights else unsigned
    zero = np.int8(0) if signed_weights else np.uint8(128)
    constants = {
        "wa": pick(WIDTH, 3 * WIDTH), "ba": floats(3 * WIDTH), "wf": pick(WIDTH, 4 * WIDTH), "bf": floats(4 * WIDTH),
        "wo": pick(4 * WIDTH, WIDTH), "bo": floats(WIDTH), "s": np.float32(0.01), "z": zero,
        "g": np.ones(WIDTH, np.float32), "mask": int32([[1, 1, 1, 0, 0]]),
    }  # fmt: skip
    graph = helper.make_graph(
        [
            node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]),
            node("QAttention", ["q", "wa", "ba", "qs", "s", "mask", "qz", "z"], ["a"], num_heads=HEADS, **microsoft),
            node("SkipLayerNormalization", ["a", "x", "g", "bo"], ["n"], **microsoft),
            node("DynamicQuantizeMatMul", ["n", "wf", "s", "z", "bf"], ["f"], "wide", **microsoft),
            node("FastGelu", ["f"], ["e"], **microsoft),
            node("DynamicQuantizeMatMul", ["e", "wo", "s", "z", "bo"], ["o"], "narrow", **microsoft),
            node("SkipLayerNormalization", ["o", "n", "g", "bo"], ["y"], **microsoft),
        ],
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, ROWS, WIDTH))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


@pytest.mark.parametrize("signed_weights", [True, False])
def test_a_layer_of_a_dynamic_encoder(signed_weights):
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'tvmq[bench]'")
    model, x = _encoder(signed_weights), floats(1, ROWS, WIDTH, low=-3, high=3)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})
    package = tvmq.compile(model)
    # Scales are found of all rows at once there and here; an integer now and then is its neighbour.
    np.testing.assert_allclose(package.run(x)["y"], expected, atol=0.02)
    statuses = {layer["name"]: layer["status"] for layer in package.metadata["layers"]}
    if signed_weights:
        assert {statuses[name] for name in ("wide", "narrow")} <= {"dynamic", "float"}
