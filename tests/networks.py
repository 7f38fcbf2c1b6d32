"""A small model of several outputs of all kinds."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def random(*shape: int, seed: int = 0, scale: float = 0.5) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


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
        "w2": random(4, 8, 1, 1, seed=2, scale=1000.0),
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
    return [{"x": random(1, 3, 6, 6, seed=10 + number, scale=1.0)} for number in range(count)]
