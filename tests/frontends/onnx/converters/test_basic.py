"""Constants in each of their spellings; what is refused. ONNX's node tests cover the operators' numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ....onnx_node.path import compile_and_run

X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


def _model(node: onnx.NodeProto, *behind: onnx.NodeProto) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, X.shape)
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([node, *behind], "graph", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


@pytest.mark.parametrize(
    ("attributes", "value"),
    [
        ({"value": numpy_helper.from_array(np.array([5.0, 6.0], np.float32))}, np.float32([5, 6])),
        ({"value_float": 2.5}, np.float32(2.5)),
        ({"value_floats": [2.5, -1.0]}, np.float32([2.5, -1])),
        ({"value_int": 3}, np.int64(3)),
        ({"value_ints": [3, -7]}, np.int64([3, -7])),
    ],
    ids=lambda argument: next(iter(argument)) if isinstance(argument, dict) else "",
)
def test_constant(attributes: dict, value: np.ndarray) -> None:
    model = _model(
        helper.make_node("Constant", [], ["c"], **attributes),
        helper.make_node("Cast", ["c"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Add", ["x", "f"], ["y"]),
    )
    (result,) = compile_and_run(model, {"x": X})
    np.testing.assert_array_equal(result, X + value.astype(np.float32))


def test_a_constant_of_strings_is_refused() -> None:
    model = _model(
        helper.make_node("Constant", [], ["c"], name="text", value_strings=["a"]),
        helper.make_node("Concat", ["x", "c"], ["y"], axis=0),
    )
    with pytest.raises(TvmqError, match=r"'text' \(Constant\).*a constant of strings"):
        load_onnx(model)


@pytest.mark.parametrize("exponent", [np.array([2, 3]), np.array([2, 3], np.int32), np.array(2, np.uint8)])
def test_power_with_an_integer_exponent(exponent: np.ndarray) -> None:
    model = _model(
        helper.make_node("Constant", [], ["e"], value=numpy_helper.from_array(exponent)),
        helper.make_node("Pow", ["x", "e"], ["y"]),
    )
    (result,) = compile_and_run(model, {"x": X})
    # Powers of small whole numbers: exact but for the last bits of exp and log.
    np.testing.assert_allclose(result, X**exponent, rtol=1e-6)
