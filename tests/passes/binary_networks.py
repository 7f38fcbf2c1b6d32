"""Binary networks as frameworks export them: one graph, and the sign in many forms."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FORMS = ("where", "sign", "sign twice", "cast", "round", "clip", "less")
SHAPE = (1, 3, 10, 10)


class _Graph:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def __call__(self, op: str, *inputs, **attributes) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        self.nodes.append(helper.make_node(op, names, [f"{name}:0"], name=name, **attributes))
        return f"{name}:0"

    def sign(self, x: str, form: str) -> str:
        if form == "where":
            return self("Where", self("GreaterOrEqual", x, 0.0), 1.0, -1.0)
        if form == "sign":
            return self("Sign", x)
        if form == "sign twice":
            return self("Sign", self("Add", self("Sign", x), 0.1))
        if form == "cast":
            bit = self("Cast", self("Greater", x, 0.0), to=TensorProto.FLOAT)
            return self("Sub", self("Mul", bit, 2.0), 1.0)
        if form == "round":
            return self("Round", self("Clip", x, 0.0, 1.0))
        if form == "clip":
            return self("Clip", self("Sign", x), -1.0, 1.0)
        return self("Where", self("Less", x, 0.25), -1.0, 1.0)

    def norm(self, x: str, channels: int) -> str:
        rng = self.rng
        scale = rng.uniform(0.5, 1.5, channels) * rng.choice([-1, 1], channels)
        shift, mean = rng.normal(0, 0.5, channels), rng.normal(0, 2, channels)
        return self("BatchNormalization", x, scale, shift, mean, rng.uniform(0.5, 20, channels))

    def convolution(self, x: str, inputs: int, outputs: int, form: str, **attributes) -> str:
        groups = attributes.get("group", 1)
        weight = self.rng.choice([-1.0, 1.0], (outputs, inputs // groups, 3, 3))
        size = self.rng.uniform(0.05, 0.2, (outputs, 1, 1, 1))
        return self("Conv", self.sign(x, form), weight * size, pads=[1] * 4, **attributes)


def binary_network(form: str = "where", channels: int = 12, groups: int = 1) -> onnx.ModelProto:
    """Return a network from ``x`` to ``y`` of five layers on bits: shortcuts, pooling, strides, batch norms."""
    graph = _Graph()
    stem = graph("Conv", "x", graph.rng.normal(0, 0.3, (channels, 3, 3, 3)), pads=[1] * 4)
    x = graph.norm(stem, channels)
    x = graph("Add", x, graph.norm(graph.convolution(x, channels, channels, form, group=groups), channels))
    x = graph.norm(graph.convolution(x, channels, channels, form), channels)
    pooled = graph("MaxPool", graph.convolution(x, channels, 20, form), kernel_shape=[2, 2], strides=[2, 2])
    x = graph.norm(pooled, 20)
    x = graph.norm(graph.convolution(x, 20, 20, form, strides=[2, 2]), 20)
    flat = graph("Flatten", graph("GlobalAveragePool", graph("Relu", x)))
    dense = graph.rng.choice([-0.5, 0.5], (20, 7))
    x = graph("Gemm", graph.sign(graph("Sub", flat, 0.3), form), dense, graph.rng.normal(0, 0.3, 7))
    graph.nodes[-1].output[0] = "y"
    proto = helper.make_graph(
        graph.nodes,
        "binary",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 7))],
        graph.constants,
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
