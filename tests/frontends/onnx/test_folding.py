"""Arithmetic on shapes disappears at import; weights and their quantization stay."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper
from tvm import relax

from tvmq.frontends.onnx.folding import LARGEST, Folding
from tvmq.frontends.onnx.load import load_onnx
from tvmq.passes.hub.graph import bindings_of, constant, op_name, shape_of, to_numpy

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
    assert list(Folding().folded(negative, {"weight": small}, 13)) == ["kernel"]
    assert Folding().folded(negative, {"weight": large}, 13) == {}


def test_operators_of_other_domains_stay() -> None:
    node = helper.make_node("Neg", ["value"], ["result"], domain="com.example")
    assert Folding().folded(node, {"value": relax.const(1.0)}, 13) == {}


def test_a_slice_computed_from_shapes() -> None:
    mod = _load(
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Slice", ["shape", "one", "three", "zero"], ["tail"]),
            helper.make_node("ReduceProd", ["tail"], ["area"], keepdims=1),
            helper.make_node("Div", ["area", "two"], ["half"]),
            helper.make_node("Reshape", ["x", "rows"], ["flat"]),
            helper.make_node("Slice", ["flat", "zero", "half", "one"], ["y"]),
        ],
        {
            "zero": np.array([0]),
            "one": np.array([1]),
            "two": np.array([2]),
            "three": np.array([3]),
            "rows": np.array([2, -1]),
        },
    )
    assert _operators(mod) == ["relax.reshape", "relax.strided_slice"]
    assert shape_of(mod["main"].body.body) == (2, 6)


def test_what_grows_from_shapes_is_a_constant_up_to_a_size() -> None:
    def grid(extent: int) -> dict:
        fold = Folding()
        values = {"shape": constant(np.array([extent, extent]))}
        return fold.folded(helper.make_node("ConstantOfShape", ["shape"], ["zeros"]), values, 13)

    assert shape_of(grid(1024)["zeros"]) == (1024, 1024)
    assert grid(2**20) == {}  # terabytes


def test_large_results_can_be_computed_with() -> None:
    fold = Folding()
    values = {"from": constant(np.array(0)), "to": constant(np.array(1000)), "step": constant(np.array(1))}
    values |= fold.folded(helper.make_node("Range", ["from", "to", "step"], ["grid"]), values, 13)
    doubled = fold.folded(helper.make_node("Add", ["grid", "grid"], ["twice"]), values, 13)
    np.testing.assert_array_equal(to_numpy(doubled["twice"]), 2 * np.arange(1000))


def test_what_the_evaluator_does_not_know_is_left_to_tvm() -> None:
    values = {"x": constant(np.array([1.0, 2.0], np.float32))}
    assert Folding().folded(helper.make_node("Neg", ["x", "x"], ["y"]), values, 13) == {}
    assert Folding().folded(helper.make_node("RandomUniformLike", ["x"], ["y"]), values, 13) == {}


def test_a_sequence_of_constants_stays_one() -> None:
    values = {"x": constant(np.array([1.0, 2.0], np.float32))}
    assert Folding().folded(helper.make_node("SequenceConstruct", ["x", "x"], ["y"]), values, 13) == {}


def test_results_whose_shape_the_values_decide() -> None:
    values = {"x": constant(np.array([0, 3, 0, 4]))}
    (found,) = Folding().folded(helper.make_node("NonZero", ["x"], ["y"]), values, 13).values()
    np.testing.assert_array_equal(to_numpy(found), [[1, 3]])
