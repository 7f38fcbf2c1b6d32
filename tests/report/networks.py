"""Small ONNX models."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convolutions() -> onnx.ModelProto:
    """``x -> first -> relu -> second -> sum with x -> third -> softmax``, on ``[1, 4, 8, 8]``."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], name="second"),
        helper.make_node("Add", ["c", "x"], ["d"], name="sum"),
        helper.make_node("Conv", ["d", "w3"], ["e"], name="third"),
        helper.make_node("Softmax", ["e"], ["y"], name="softmax", axis=1),
    ]
    weights = {
        "w1": random(4, 4, 3, 3, seed=1),
        "w2": random(4, 4, 1, 1, seed=2),
        "w3": random(2, 4, 1, 1, seed=3),
    }
    return _model(nodes, {"x": (1, 4, 8, 8)}, {"y": (1, 2, 8, 8)}, weights)


def two_outputs() -> onnx.ModelProto:
    """Matmuls one behind the other, on ``[3, 8]``; the outputs have 8 columns and 1."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["wide"], name="first"),
        helper.make_node("MatMul", ["wide", "w2"], ["narrow"], name="second"),
    ]
    weights = {"w1": random(8, 8, seed=1), "w2": random(8, 1, seed=2)}
    return _model(nodes, {"x": (3, 8)}, {"narrow": (3, 1), "wide": (3, 8)}, weights)


def heads(*outputs: str) -> onnx.ModelProto:
    """Return the model with these of its values as outputs, in that order, on ``x`` ``[1, 3, 6, 6]``.

    ``boxes`` ``[1, 4, 6, 6]``, thousands; ``scores`` ``[1, 5]``, about 1; ``total``, without an axis; ``classes``,
    int64 ``[1]``; ``features`` ``[1, 8, 6, 6]``, which all of these read; ``x``; ``anchors`` ``[4]``, constant.
    """
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1"], ["c"], name="stem", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["features"], name="relu"),
        node("Conv", ["features", "w2"], ["boxes"], name="boxes"),
        node("GlobalAveragePool", ["features"], ["p"], name="pool"),
        node("Flatten", ["p"], ["flat"], name="flatten"),
        node("MatMul", ["flat", "w3"], ["scores"], name="scores"),
        node("ReduceSum", ["scores"], ["total"], name="total", keepdims=0),
        node("ArgMax", ["scores"], ["classes"], name="classes", axis=1, keepdims=0),
    ]
    weights = {
        "w1": random(8, 3, 3, 3, seed=1),
        "w2": 1000.0 * random(4, 8, 1, 1, seed=2),
        "w3": random(8, 5, seed=3),
        "anchors": random(4, seed=4),
    }
    integers = {"classes"}
    shapes = {"total": [], "anchors": [4], "x": [1, 3, 6, 6]}
    infos = [
        helper.make_tensor_value_info(
            name, TensorProto.INT64 if name in integers else TensorProto.FLOAT, shapes.get(name)
        )
        for name in outputs
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])]
    constants = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "heads", inputs, infos, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def samples(count: int = 4) -> list[dict[str, np.ndarray]]:
    """Return samples for ``heads``."""
    return [{"x": random(1, 3, 6, 6, seed=10 + number)} for number in range(count)]


def _model(nodes, inputs, outputs, weights) -> onnx.ModelProto:
    def infos(shapes):
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()
        ]

    constants = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "g", infos(inputs), infos(outputs), constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def in_floats(model: onnx.ModelProto, kind: str) -> onnx.ModelProto:
    """Return a float32 model in ``"float16"``, ``"bfloat16"`` or ``"float64"``."""
    dtype = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float64": np.float64}[kind]
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(dtype), tensor.name))
    for info in (*model.graph.input, *model.graph.output):
        if info.type.tensor_type.elem_type == TensorProto.FLOAT:
            info.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return model


def cast_at_the_edges(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model with float32 inputs and outputs, and casts to and from those that it had."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    outputs = {info.name for info in graph.output}
    edges = {*outputs, *(info.name for info in graph.input)}
    kind = graph.input[0].type.tensor_type.elem_type
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{name} inside" if name in edges else name for name in names]
    before = [helper.make_node("Cast", [i.name], [f"{i.name} inside"], to=kind) for i in graph.input]
    behind = [helper.make_node("Cast", [f"{name} inside"], [name], to=TensorProto.FLOAT) for name in outputs]
    nodes = [*before, *graph.node, *behind]
    del graph.node[:]
    graph.node.extend(nodes)
    for info in (*graph.input, *graph.output):
        info.type.tensor_type.elem_type = TensorProto.FLOAT
    return model
