"""What onnxruntime's dynamic quantization writes becomes products of row pairs, as ONNX defines them."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tvmq
from tvmq.passes.hub.graph import dtype_of
from tvmq.passes.hub.row_pairs import row_pairs
from tvmq.passes.prepare.prepare import Prepare

from ..modules import calls, operators

SHAPE, COLUMNS = (2, 5, 33), 24
TOLERANCE = 8 * 2.0**-24
"""Relative to the largest result: a product is scaled by two factors here, and by their product there, and a bias is
added: each rounds once."""


def weights(dtype, per_channel, zero_point):
    """Return integers ``[K, N]``, their scales and their zero points."""
    rng, info = np.random.default_rng(0), np.iinfo(dtype)
    count = (COLUMNS,) if per_channel else ()
    integers = rng.integers(info.min, info.max + 1, (SHAPE[-1], COLUMNS)).astype(dtype)
    scales = (rng.random(count) + 0.5).astype(np.float32) / 100
    return integers, np.asarray(scales), np.full(count, zero_point, dtype)


def model_of(nodes, integers, scales, zeros):
    bias = np.random.default_rng(1).standard_normal(COLUMNS).astype(np.float32)
    named = {"w": integers, "w_scale": scales, "w_zero": zeros, "bias": bias}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (*SHAPE[:-1], COLUMNS))],
        [numpy_helper.from_array(array, name) for name, array in named.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def standard(*weight, swapped=False, data_scale="s"):
    """Return the model in ONNX's operators; ``swapped`` writes factors in the other order."""

    def multiply(one, other, result):
        return helper.make_node("Mul", [other, one] if swapped else [one, other], [result])

    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        multiply(data_scale, "w_scale", "scales"),
        helper.make_node("MatMulInteger", ["q", "w", "z", "w_zero"], ["total"]),
        helper.make_node("Cast", ["total"], ["cast"], to=onnx.TensorProto.FLOAT),
        multiply("cast", "scales", "product"),
        helper.make_node("Add", ["product", "bias"], ["y"]),
    ]
    return model_of(nodes, *weight)


def contrib(*weight):
    inputs = ["x", "w", "w_scale", "w_zero", "bias"]
    return model_of(
        [helper.make_node("DynamicQuantizeMatMul", inputs, ["y"], domain="com.microsoft")], *weight
    )


def contrib_in_parts(*weight):
    inputs = ["q", "w", "s", "w_scale", "z", "w_zero", "bias"]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulIntegerToFloat", inputs, ["y"], domain="com.microsoft"),
    ]
    return model_of(nodes, *weight)


def data(kind="any"):
    values = np.random.default_rng(2).standard_normal(SHAPE).astype(np.float32)
    return {"any": values, "positive": np.abs(values), "zeros": 0 * values}[kind]


WEIGHTS = [("int8", True, 0), ("int8", False, 0), ("uint8", True, 128), ("uint8", False, 128)]


@pytest.mark.parametrize("weight", WEIGHTS, ids=str)
@pytest.mark.parametrize("write", [standard, partial(standard, swapped=True), contrib, contrib_in_parts])
def test_they_run_on_integers(write, weight):
    made = weights(*weight)
    model, reference = write(*made), ReferenceEvaluator(standard(*made))
    prepared = Prepare()(tvmq.load_onnx(model))
    (pair,) = row_pairs(prepared).values()
    assert pair.whole and not pair.symmetric and operators(prepared)[-3:] == ["dequantize", "matmul", "add"]
    package = tvmq.compile(model)
    kernels = [call.kernel for call in package.profile({"x": data()})]
    assert kernels == ["quantize_rows", "qmatmul_2x5x33_24ch"]
    for kind in ("any", "positive"):
        (expected,) = reference.run(None, {"x": data(kind)})
        tolerance = TOLERANCE * np.abs(expected).max()
        np.testing.assert_allclose(package.run({"x": data(kind)})["y"], expected, rtol=0, atol=tolerance)


def test_zeros_give_the_bias():
    model = standard(*weights("int8", True, 0))
    bias = numpy_helper.to_array(model.graph.initializer[-1])
    result = tvmq.compile(model).run({"x": data("zeros")})["y"]
    np.testing.assert_array_equal(result, np.broadcast_to(bias, result.shape))


def test_readers_share_one_pair():
    model = standard(*weights("int8", True, 0))
    nodes = list(model.graph.node[1:-1])
    for node in nodes:
        again = onnx.NodeProto()
        again.CopyFrom(node)
        again.input[:] = [f"{name}2" if name in ("scales", "total", "cast") else name for name in node.input]
        again.output[0] += "2"
        model.graph.node.insert(len(model.graph.node) - 1, again)
    model.graph.node[-1].input[:] = ["product", "product2"]
    prepared = Prepare()(tvmq.load_onnx(model))
    assert len(row_pairs(prepared)) == 1 and len(calls(prepared, "matmul")) == 2


def test_weights_that_need_nine_bits_become_float():
    made = weights("uint8", True, 100)
    model = standard(*made)
    prepared = Prepare()(tvmq.load_onnx(model))
    assert operators(prepared)[-2:] == ["matmul", "add"] and "dequantize" not in operators(prepared)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": data()})
    # The sum is one of floats: 33 terms, each rounded, of up to 10 times the largest result together.
    tolerance = 10 * 35 * 2.0**-24 * np.abs(expected).max()
    np.testing.assert_allclose(tvmq.compile(model).run({"x": data()})["y"], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("changed", ["scale", "zero point", "rank"])
def test_what_is_nearly_that_stays(changed):
    integers, scales, zeros = weights("int8", True, 0)
    if changed == "scale":  # not the one that the data were quantized by
        model = standard(integers, scales, zeros, data_scale="bias")
    elif changed == "zero point":
        model = standard(integers, scales, zeros)
        model.graph.node[2].input[2] = ""
    else:
        model = standard(integers[None], scales, np.zeros((), np.int8))
    prepared = Prepare()(tvmq.load_onnx(model))
    assert not row_pairs(prepared)
    assert [dtype_of(call) for call in calls(prepared, "matmul")] == ["int32"]
