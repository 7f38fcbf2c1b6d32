"""Arithmetic on shapes disappears at import; weights and their quantization stay."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper
from tvm import relax

from tvmq.frontends.onnx import load_onnx
from tvmq.frontends.onnx_folding import LARGEST, Folding
from tvmq.passes.graph import bindings_of, op_name, shape_of

FLOAT = onnx.TensorProto.FLOAT


def _load(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]):
    x = helper.make_tensor_value_info("x", FLOAT, (2, 3, 4))
    y = helper.make_tensor_value_info("y", FLOAT, None)
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", [x], [y], initializers)
    return load_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))


def _operators(mod) -> list[str]:
    return [name for binding in bindings_of(mod) if (name := op_name(binding.value))]


def test_a_computed_shape_becomes_a_constant() -> None:
    mod = _load(
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Gather", ["shape", "first"], ["batch"]),
            helper.make_node("Concat", ["batch", "rest"], ["target"], axis=0),
            helper.make_node("Reshape", ["x", "target"], ["y"]),
        ],
        {"first": np.array([0]), "rest": np.array([-1])},
    )
    assert _operators(mod) == ["relax.reshape"]
    assert shape_of(mod["main"].body.body) == (2, 12)


def test_size_of_a_shape_is_its_rank() -> None:
    mod = _load(
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Size", ["shape"], ["rank"]),
            helper.make_node("Cast", ["rank"], ["factor"], to=FLOAT),
            helper.make_node("Mul", ["x", "factor"], ["y"]),
        ],
        {},
    )
    assert _operators(mod) == ["relax.multiply"]
    (call,) = [binding.value for binding in bindings_of(mod) if isinstance(binding.value, relax.Call)]
    assert call.args[1].value.numpy() == 3.0


def test_quantized_weights_stay_quantized() -> None:
    mod = _load(
        [
            helper.make_node("DequantizeLinear", ["weight", "scale"], ["kernel"]),
            helper.make_node("MatMul", ["x", "kernel"], ["y"]),
        ],
        {"weight": np.ones((4, 5), np.int8), "scale": np.array(0.5, np.float32)},
    )
    assert _operators(mod) == ["relax.dequantize", "relax.matmul"]


def test_large_constants_stay_as_they_are_stored() -> None:
    negative = helper.make_node("Neg", ["weight"], ["kernel"])
    small, large = (relax.const(np.ones(size, np.float32)) for size in (LARGEST, LARGEST + 1))
    assert list(Folding(13).folded(negative, {"weight": small})) == ["kernel"]
    assert Folding(13).folded(negative, {"weight": large}) == {}


def test_operators_of_other_domains_stay() -> None:
    node = helper.make_node("Neg", ["value"], ["result"], domain="com.example")
    assert Folding(13).folded(node, {"value": relax.const(1.0)}) == {}
