"""Q and DQ as other tools place them: shared, behind moves, on constants, around batch norms. Numbers and integers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import tvmq

node = helper.make_node
X = np.random.default_rng(0).normal(size=(1, 4, 6, 6)).astype(np.float32)
TARGET = "llvm -mcpu=haswell"
CONSTANTS = {
    "s": np.float32(0.05),
    "z": np.uint8(128),
    "w": np.random.default_rng(1).integers(-60, 61, (8, 4, 3, 3)).astype(np.int8),
    "v": np.random.default_rng(2).integers(-60, 61, (8, 4, 1, 1)).astype(np.int8),
    "ws": np.linspace(0.005, 0.01, 8, dtype=np.float32),
    "wz": np.zeros(8, np.int8),
    "wf": np.random.default_rng(3).normal(size=(8, 4, 3, 3)).astype(np.float32) * 0.2,
    "m": np.random.default_rng(4).integers(-60, 61, (6, 8)).astype(np.int8),
    "ys": np.float32(0.04),
    "yz": np.uint8(100),
    "gamma": np.linspace(0.5, 1.5, 8, dtype=np.float32),
    "beta": np.linspace(-0.5, 0.5, 8, dtype=np.float32),
    "mean": np.linspace(-0.1, 0.1, 8, dtype=np.float32),
    "var": np.linspace(0.6, 1.4, 8, dtype=np.float32),
    "rows": np.array([24, 6]),
    "flat": np.array([6, 24]),
}


def pair(value: str, result: str, scale: str = "s", zero: str = "z") -> list[onnx.NodeProto]:
    return [
        node("QuantizeLinear", [value, scale, zero], [f"{result}_q"]),
        node("DequantizeLinear", [f"{result}_q", scale, zero], [result]),
    ]


def weight(name: str, axis: int = 0) -> onnx.NodeProto:
    return node("DequantizeLinear", [name, "ws", "wz"], [f"{name}_f"], axis=axis)


CASES: dict[str, tuple[list[onnx.NodeProto], int]] = {
    "one DQ and several readers": (
        [*pair("x", "h"), weight("w"), weight("v"), node("Conv", ["h", "w_f"], ["a"], pads=[1] * 4),
         node("Conv", ["h", "v_f"], ["b"]), node("Relu", ["h"], ["r"]), node("GlobalAveragePool", ["r"], ["g"]),
         *pair("a", "c", "ys", "yz"), *pair("b", "d", "ys", "yz"), node("Add", ["c", "d"], ["e"]),
         *pair("e", "y", "ys", "yz")],
        2,
    ),
    "one weight and two readers": (
        [*pair("x", "h"), weight("v"), node("Conv", ["h", "v_f"], ["a"]),
         node("MaxPool", ["h"], ["p"], kernel_shape=[2, 2]), node("Conv", ["p", "v_f"], ["b"], pads=[1, 1, 0, 0]),
         *pair("a", "c", "ys", "yz"), *pair("b", "d", "ys", "yz"),
         node("Add", ["c", "d"], ["e"]), *pair("e", "y", "ys", "yz")],
        2,
    ),
    "behind a reshape and a transpose": (
        [*pair("x", "h"), node("Reshape", ["h", "flat"], ["k"]), node("Transpose", ["k"], ["t"], perm=[1, 0]),
         weight("m", 1), node("MatMul", ["t", "m_f"], ["a"]), *pair("a", "y", "ys", "yz")],
        1,
    ),
    "the integers are moved": (
        [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("Reshape", ["q", "flat"], ["k"]),
         node("Transpose", ["k"], ["t"], perm=[1, 0]), node("DequantizeLinear", ["t", "s", "z"], ["h"]),
         weight("m", 1), node("MatMul", ["h", "m_f"], ["a"]), *pair("a", "y", "ys", "yz")],
        1,
    ),
    "constants that are not folded": (
        [*pair("x", "h"), node("QuantizeLinear", ["wf", "ws", "wz"], ["wq"], axis=0),
         node("DequantizeLinear", ["wq", "ws", "wz"], ["wd"], axis=0), node("Conv", ["h", "wd"], ["a"]),
         *pair("a", "y", "ys", "yz")],
        1,
    ),
    "a batch norm behind a convolution": (
        [*pair("x", "h"), weight("w"), node("Conv", ["h", "w_f"], ["a"]),
         node("BatchNormalization", ["a", "gamma", "beta", "mean", "var"], ["n"]), node("Relu", ["n"], ["r"]),
         *pair("r", "y", "ys", "yz")],
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_numbers_and_integers(name):
    nodes, products = CASES[name]
    read = {value for each in nodes for value in each.input}
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in CONSTANTS.items() if key in read],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=8)
    package = tvmq.compile(model, TARGET)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": X})
    steps = np.abs(package.run({"x": X})["y"] - expected) / CONSTANTS["ys"]
    assert (
        steps.max() <= 1.001 and (steps > 0.001).mean() < 0.01
    )  # of sums in another order, just between two integers
    weighted = [layer for layer in package.metadata["layers"] if layer["op"] in ("Conv", "MatMul")]
    assert [layer["status"] for layer in weighted] == ["int8"] * products
