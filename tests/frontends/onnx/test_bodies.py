"""Operators imported as their bodies, and functions of a model's own. ONNX's node tests cover the numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.bodies import has_body
from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.hub.graph import bindings_of, layer_name
from tvmq.passes.hub.layers import get_layers

from ...onnx_node.path import compile_and_run
from ..nodes import floats, one_node, run_node


def test_a_body_bears_the_name_of_its_node() -> None:
    mod = load_onnx(one_node("Swish", floats(2, 3), opset=24, alpha=0.5)[0])
    assert [(layer.name, layer.op) for layer in get_layers(mod)] == [("node", "Swish")]
    assert {layer_name(binding.value) for binding in bindings_of(mod) if layer_name(binding.value)} == {
        "node"
    }


def test_attributes_that_are_left_out_have_their_defaults() -> None:
    x = floats(2, 3)
    np.testing.assert_allclose(run_node("Swish", x, opset=24)[0], x / (1 + np.exp(-x)), rtol=1e-6)
    (window,) = run_node("HannWindow", np.array(6), constants=(0,))
    np.testing.assert_allclose(window, 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(6) / 6), atol=1e-6)


def _function(name: str, opset: int = 17) -> onnx.FunctionProto:
    nodes = [helper.make_node("Neg", ["a"], ["b"], name="inner"), helper.make_node("Elu", ["b"], ["c"])]
    nodes[1].attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=1))
    return helper.make_function(
        "mine", name, ["a"], ["c"], nodes, [helper.make_opsetid("", opset)], ["slope"]
    )


def _calling(function: onnx.FunctionProto) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(function.name, ["x"], ["y"], domain="mine", slope=2.0)],
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 3])],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=imports, functions=[function], ir_version=8)


def test_a_models_own_function() -> None:
    model, x = _calling(_function("Block")), floats(2, 3)
    (result,) = compile_and_run(model, {"x": x})
    np.testing.assert_allclose(result, np.where(x > 0, 2 * np.expm1(-x), -x), rtol=1e-5, atol=1e-6)
    assert [layer.op for layer in get_layers(load_onnx(model))] == ["Neg", "Elu"]


def test_a_function_of_another_version_is_refused() -> None:
    with pytest.raises(TvmqError, match="functions cannot be inlined|cannot be imported"):
        load_onnx(_calling(_function("Block", opset=6)))


@pytest.mark.parametrize(
    ("domain", "op_type", "expected"),
    [
        ("", "Swish", True),
        ("com.microsoft", "Swish", False),
        ("com.microsoft", "FusedConv", True),
        ("", "FusedConv", False),
        ("", "SimplifiedLayerNormalization", True),
        ("", "Relu", False),
    ],
)
def test_has_body(domain: str, op_type: str, expected: bool) -> None:
    assert has_body(domain, op_type) is expected
