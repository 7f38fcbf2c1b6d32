"""Reductions of float rows: whole vectors, what is left behind them, and what is computed before and after."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tvmq

CASES = [
    ((8, 7, 53), (2,)),
    ((2, 3, 5, 17), (2, 3)),
    ((2, 3, 48), (0, 1, 2)),
    ((300,), (0,)),
    ((7, 64), (1,)),
    ((2, 65, 3), (1,)),
    ((4, 5), (0, 1)),
    ((3, 100), (0,)),
]


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_reductions_of_one_model(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: int) -> None:
    operators = {"Max": np.max, "Min": np.min, "Sum": np.sum, "Mean": np.mean}
    nodes = [helper.make_node("Mul", ["x", "x"], ["square"])]
    for name in operators:
        nodes.append(helper.make_node(f"Reduce{name}", ["square", "axes"], [f"{name}_"], keepdims=keepdims))
        nodes.append(helper.make_node("Sqrt", [f"{name}_"], [name]))
    graph = helper.make_graph(
        nodes,
        "reductions",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.ValueInfoProto(name=name) for name in operators],
        [numpy_helper.from_array(np.array(axes), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    results = tvmq.compile(model).run(x)
    for name, function in operators.items():
        expected = np.sqrt(function(x * x, axis=axes, keepdims=bool(keepdims)))
        assert results[name].shape == expected.shape
        np.testing.assert_allclose(results[name], expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["Max", "Mean"])
def test_a_scalar_has_no_axis(name: str) -> None:
    graph = helper.make_graph(
        [helper.make_node(f"Reduce{name}", ["x"], ["m"]), helper.make_node("Exp", ["m"], ["y"])],
        name,
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ())],
        [onnx.ValueInfoProto(name="y")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    np.testing.assert_allclose(tvmq.compile(model).run(np.float32(2))["y"], np.exp(2.0), rtol=1e-6)


@pytest.mark.parametrize("value", [-np.inf, np.inf])
def test_a_row_of_infinities(value: float) -> None:
    x = np.full((3, 40), value, "float32")
    for name in ("Max", "Min"):
        graph = helper.make_graph(
            [helper.make_node(f"Reduce{name}", ["x"], ["y"], axes=[1])],
            name,
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
            [onnx.ValueInfoProto(name="y")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        np.testing.assert_array_equal(tvmq.compile(model).run(x)["y"], x[:, :1])
