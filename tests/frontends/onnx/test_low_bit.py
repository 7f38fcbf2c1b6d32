"""Weights of 4 and 2 bits and in blocks: what ONNX's evaluator makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import tvmq
from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx
from tvmq.frontends.onnx.tensors import NARROW
from tvmq.passes.hub.graph import bindings_of, op_name

from ..graphs import model, node, run, value

X = np.random.default_rng(0).normal(size=(2, 32)).astype(np.float32)
ROWS, COLUMNS = 32, 8


def quantized(dtype: str, scale_shape, zero_points: bool, **attributes):
    """Return x @ dequantize(w), w[ROWS, COLUMNS] of a narrow dtype."""
    rng = np.random.default_rng(1)
    low, high = NARROW[dtype]
    kind = getattr(TensorProto, dtype.upper())

    def integers(name, shape):
        values = rng.integers(low, high + 1, shape)
        return helper.make_tensor(name, kind, list(shape), np.ravel(values).tolist())

    constants = {
        "w": integers("w", (ROWS, COLUMNS)),
        "s": rng.uniform(0.01, 0.1, scale_shape).astype(np.float32),
    }
    if zero_points:
        constants["z"] = integers("z", scale_shape)
    nodes = [
        node("DequantizeLinear", ["w", "s", *(["z"] if zero_points else [])], ["d"], **attributes),
        node("MatMul", ["x", "d"], ["y"]),
    ]
    return model(nodes, [value("x", X.shape)], ["y"], constants, opset=25 if "2" in dtype else 21)


@pytest.mark.parametrize("dtype", sorted(NARROW))
@pytest.mark.parametrize("zero_points", [False, True])
@pytest.mark.parametrize(
    ("scale_shape", "attributes", "operators"),
    [
        ((), {}, ["relax.dequantize", "relax.matmul"]),
        ((COLUMNS,), {"axis": 1}, ["relax.dequantize", "relax.matmul"]),
        ((ROWS,), {"axis": -2}, ["relax.dequantize", "relax.matmul"]),
        ((2, COLUMNS), {"axis": 0, "block_size": 16}, ["relax.matmul"]),
        ((ROWS, 2), {"axis": -1, "block_size": 4}, ["relax.matmul"]),
        ((5, COLUMNS), {"axis": 0, "block_size": 7}, ["relax.matmul"]),  # the last block is shorter
    ],
)
def test_weights(dtype, zero_points, scale_shape, attributes, operators):
    proto = quantized(dtype, scale_shape, zero_points, **attributes)
    mod = load_onnx(proto)
    assert [op_name(binding.value) for binding in bindings_of(mod) if op_name(binding.value)] == operators
    if attributes.get("block_size") == 7:  # ONNX's evaluator knows only blocks that fill the axis
        return
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": X})
    # Sums of 32 products of at most 4 * 1.6, in another order.
    np.testing.assert_allclose(run(mod, X)[0], expected, atol=32 * 6.4 * 32 * 2.0**-24)


def test_a_short_last_block():
    proto = quantized("int4", (5, COLUMNS), False, axis=0, block_size=7)
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    from onnx.numpy_helper import to_array

    scale = np.repeat(to_array(constants["s"]), 7, axis=0)[:ROWS]
    expected = X @ (to_array(constants["w"]).astype(np.float32) * scale)
    np.testing.assert_allclose(run(load_onnx(proto), X)[0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("scale_shape", "attributes", "message"),
    [
        (
            (3, COLUMNS),
            {"axis": 0, "block_size": 16},
            r"the scale has the shape \[3, 8\]; blocks of 16 along axis 0 need",
        ),
        ((2, COLUMNS), {"axis": 5, "block_size": 16}, "axis 5 is none of values of rank 2"),
        ((2, COLUMNS), {"axis": 0, "block_size": -16}, "block_size -16 needs a scale for each block"),
    ],
)
def test_blocks_that_do_not_fit(scale_shape, attributes, message):
    with pytest.raises(TvmqError, match=message):
        load_onnx(quantized("int4", scale_shape, False, **attributes))


@pytest.mark.parametrize("zero_points", [False, True])
@pytest.mark.parametrize("operator", ["QuantizeLinear", "DequantizeLinear"])
def test_blocks_of_an_activation(operator, zero_points):
    rng = np.random.default_rng(2)
    is_real = operator == "QuantizeLinear"
    x = X if is_real else rng.integers(-128, 128, X.shape).astype(np.int8)
    constants = {"s": rng.uniform(0.01, 0.1, (2, 5)).astype(np.float32)}
    if zero_points:
        constants["z"] = rng.integers(-9, 9, (2, 5)).astype(np.int8)
    inputs = ["x", "s", *(["z"] if zero_points else [])]
    how = {"output_dtype": TensorProto.INT8} if is_real else {}
    made = node(operator, inputs, ["y"], axis=1, block_size=7, **how)
    kind = TensorProto.FLOAT if is_real else TensorProto.INT8
    proto = model([made], [value("x", X.shape, kind)], ["y"], constants, opset=21)
    scale = constants["s"].repeat(7, axis=1)[:, :32]
    zero = constants["z"].repeat(7, axis=1)[:, :32].astype(int) if zero_points else 0
    expected = np.clip(np.rint(x / scale) + zero, -128, 127) if is_real else (x - zero) * scale
    np.testing.assert_allclose(run(load_onnx(proto), x)[0], expected, rtol=1e-6)


def test_a_constant_node_of_4_bits():
    tensor = helper.make_tensor("w", TensorProto.INT4, [2, 3], [-8, 7, 0, 1, -1, 3])
    nodes = [
        node("Constant", [], ["w"], value=tensor),
        node("DequantizeLinear", ["w", "s"], ["d"]),
        node("Add", ["d", "x"], ["y"]),
    ]
    proto = model(nodes, [value("x", (2, 3))], ["y"], {"s": np.float32(0.5)}, opset=21)
    result = run(load_onnx(proto), np.zeros((2, 3), np.float32))[0]
    np.testing.assert_array_equal(result, [[-4.0, 3.5, 0.0], [0.5, -0.5, 1.5]])


@pytest.mark.parametrize("dtype", sorted(NARROW))
@pytest.mark.parametrize("per_axis", [False, True])
@pytest.mark.parametrize("named", ["zero point", "output_dtype"])
def test_activations_of_4_and_2_bits(dtype, per_axis, named):
    low, high = NARROW[dtype]
    kind, count = getattr(TensorProto, dtype.upper()), 3 if per_axis else 1
    shape = [count] if per_axis else []
    scale, zero = np.linspace(0.3, 0.5, count, dtype=np.float32).reshape(shape), low + 1
    constants = {"s": scale, "z": helper.make_tensor("z", kind, shape, [zero] * count)}
    inputs, how = (["x", "s", "z"], {}) if named == "zero point" else (["x", "s"], {"output_dtype": kind})
    zero = zero if named == "zero point" else 0
    made = [
        node("QuantizeLinear", inputs, ["q"], axis=1, **how),
        node("DequantizeLinear", ["q", *inputs[1:]], ["y"], axis=1),
    ]
    x = np.random.default_rng(3).normal(0, 4, (5, 3)).astype(np.float32)
    proto = model(made, [value("x", x.shape)], ["y"], constants, opset=25 if "2" in dtype else 21)
    expected = (np.clip(np.rint(x / scale) + zero, low, high) - zero) * scale
    np.testing.assert_allclose(run(load_onnx(proto), x)[0], expected, rtol=1e-6)


def test_casts_to_4_bits_are_refused():
    made = node("Cast", ["x"], ["y"], name="q", to=TensorProto.INT4)
    with pytest.raises(TvmqError, match="ONNX node 'q' .*gives int4 values; "):
        load_onnx(model([made], [value("x", (2, 3))], ["y"], {}, opset=21))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            node("QuantizeLinear", ["x", "s"], ["y"], output_dtype=TensorProto.FLOAT8E5M2),
            "cannot be quantized to float8_e5m2",
        ),
        (
            node("QuantizeLinear", ["x", "s", "z"], ["y"], output_dtype=TensorProto.INT8),
            "its zero point is uint8, and its output int8",
        ),
        (
            node("QuantizeLinear", ["x", "v"], ["y"], block_size=2, axis=1),
            r"the scale has the shape \[3\]; blocks of 2 along axis 1 need \[2, 2\]",
        ),
        (
            node("QuantizeLinear", ["x", "v"], ["y"], block_size=2, axis=4),
            "block_size 2 and axis 4 do not fit",
        ),
    ],
)
def test_what_cannot_be_quantized(made, message):
    constants = {"s": np.float32(0.5), "z": np.uint8(1), "v": np.ones(3, np.float32)}
    with pytest.raises(TvmqError, match=message):
        load_onnx(model([made], [value("x", (2, 3))], ["y"], constants, opset=21))


@pytest.mark.parametrize("zero_points", [False, True])
def test_a_quantized_convolution_runs_on_integers(zero_points):
    # The evaluator rounds sums of 27 products in float; with these seeds none lies that near to a half.
    rng = np.random.default_rng(0)
    low, high = NARROW["uint4" if zero_points else "int4"]
    kind = TensorProto.UINT4 if zero_points else TensorProto.INT4
    constants = {
        "s": np.float32(0.05),
        "o": np.float32(0.1),
        "z": np.uint8(128),
        "w": helper.make_tensor("w", kind, [8, 3, 3, 3], rng.integers(low, high + 1, 216).tolist()),
        "t": rng.uniform(0.02, 0.1, 8).astype(np.float32),
    }
    if zero_points:
        constants["u"] = helper.make_tensor("u", kind, [8], [8] * 8)
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["h"]),
        node("DequantizeLinear", ["w", "t", *(["u"] if zero_points else [])], ["d"], axis=0),
        node("Conv", ["h", "d"], ["c"], name="conv"),
        node("QuantizeLinear", ["c", "o", "z"], ["p"]),
        node("DequantizeLinear", ["p", "o", "z"], ["y"]),
    ]
    proto = model(nodes, [value("x", (1, 3, 9, 9))], ["y"], constants, opset=21)
    package = tvmq.compile(proto, "llvm -mcpu=native")
    assert {layer["name"]: layer["status"] for layer in package.metadata["layers"]}["conv"] == "int8"
    x = rng.normal(size=(1, 3, 9, 9)).astype(np.float32)
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": x})
    np.testing.assert_array_equal(package.run({"x": x})["y"], expected)
