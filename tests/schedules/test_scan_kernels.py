"""TopK and running sums along any axis, in a package that needs TVM's runtime library alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tvmq


def _package(op_type: str, x: np.ndarray, operand: np.ndarray, outputs: int, **attributes) -> tvmq.Package:
    names = [f"y{at}" for at in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(op_type, ["x", "k"], names, **attributes)],
        op_type,
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [onnx.ValueInfoProto(name=name) for name in names],
        [numpy_helper.from_array(operand, "k")],
    )
    return tvmq.compile(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("largest", [0, 1])
def test_topk(axis: int, largest: int) -> None:
    x = np.random.default_rng(0).permutation(5 * 9 * 7).reshape(5, 9, 7).astype("float32")
    package = _package("TopK", x, np.array([3]), 2, axis=axis, largest=largest)
    values, indices = package.run({"x": x}).values()
    expected = np.take(np.argsort(-x if largest else x, axis=axis), range(3), axis)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(x, expected, axis))
    assert all(
        "topk" in kernel["name"] or "transpose" in kernel["name"] for kernel in package.metadata["kernels"]
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_cumsum(axis: int) -> None:
    x = np.random.default_rng(0).integers(-9, 9, (3, 4, 5))
    (result,) = _package("CumSum", x, np.array(axis), 1).run({"x": x}).values()
    np.testing.assert_array_equal(result, np.cumsum(x, axis))


def test_topk_of_constants_is_computed_too() -> None:
    x = np.float32([1, 2])
    graph = helper.make_graph(
        [helper.make_node("TopK", ["c", "k"], ["v", "i"]), helper.make_node("Add", ["x", "v"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.float32([3, 1, 2]), "c"), numpy_helper.from_array(np.array([2]), "k")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    np.testing.assert_array_equal(tvmq.compile(model).run({"x": x})["y"], [4, 4])
