"""Clip of integers, of constants, behind a quantizer, with computed bounds. Of floats: test_table."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tvmq
from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.hub.graph import bindings_of, is_constant, op_name

from ....onnx_node.path import compile_and_run
from ...nodes import floats, one_node, run_node


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_integers(dtype: str) -> None:
    x = np.arange(0, 12).astype(dtype)
    low, high = np.array(3, dtype), np.array(7, dtype)
    np.testing.assert_array_equal(run_node("Clip", x, low, high, constants=(1, 2))[0], np.clip(x, 3, 7))
    np.testing.assert_array_equal(run_node("Clip", x, None, high, constants=(2,))[0], np.minimum(x, 7))


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_computed_bounds(dtype: str) -> None:
    x = np.arange(-5, 5).astype(dtype)
    low, high = np.array(-2, dtype), np.array(3, dtype)
    np.testing.assert_array_equal(run_node("Clip", x, low, high)[0], np.clip(x, -2, 3))


def test_a_constant_is_folded() -> None:
    model, _ = one_node("Clip", np.int8([-9, 0, 9]), np.int8(-7), np.int8(7), constants=(0, 1, 2))
    mod = load_onnx(model)
    assert is_constant(bindings_of(mod)[0].value)
    np.testing.assert_array_equal(compile_and_run(model, {})[0], np.int8([-7, 0, 7]))


def _qcdq(x: np.ndarray) -> onnx.ModelProto:
    """As Brevitas exports 4-bit activations and weights."""
    weight = np.random.default_rng(1).integers(-9, 10, (3, 2, 1, 1)).astype("int8")
    constants = {
        "s": np.float32(0.25), "z": np.int8(1), "ws": np.float32(0.1), "wz": np.int8(0),
        "low": np.int8(-7), "high": np.int8(7), "w": weight,
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("Clip", ["q", "low", "high"], ["qc"]),
        helper.make_node("DequantizeLinear", ["qc", "s", "z"], ["d"]),
        helper.make_node("Clip", ["w", "low", "high"], ["wc"]),
        helper.make_node("DequantizeLinear", ["wc", "ws", "wz"], ["wd"]),
        helper.make_node("Conv", ["d", "wd"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "qcdq",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_behind_a_quantizer_it_is_a_clip_of_floats() -> None:
    x = floats(1, 2, 4, 5, low=-4, high=4)
    model = _qcdq(x)
    names = [op_name(binding.value).removeprefix("relax.") for binding in bindings_of(load_onnx(model))]
    assert names[:3] == ["clip", "quantize", "dequantize"]
    (result,) = tvmq.compile(model).run({"x": x}).values()
    integers = np.clip(np.rint(x / np.float32(0.25)) + 1, -7, 7) - 1
    weight = numpy_helper.to_array(model.graph.initializer[-1]).astype(int).clip(-7, 7)[:, :, 0, 0]
    expected = np.einsum("nchw,oc->nohw", integers, weight).astype("float32") * np.float32(0.25 * 0.1)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    (conv,) = [layer for layer in tvmq.compile(model).metadata["layers"] if layer["op"] == "Conv"]
    assert (conv["status"], conv["details"]["weight_bits"]) == ("int8", 4)
