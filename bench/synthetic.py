"""Networks with random weights, made with onnx.helper: right in shape and arithmetic, so good for measuring speed.

Weights are He-initialised, normal with variance 2 / inputs, and batch norm counts as folded: each operator has a bias.
So the mean square of activations stays about the same from layer to layer; where a residual is added, the branch is
made smaller, and the sum of some dozen grows no more than a few times.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 13
IMAGE = (3, 224, 224)
CLASSES = 1000
TOKENS = (128, 768)
"""Shape of the encoder's sample: sequence length, width."""
BRANCH_GAIN = 0.5
"""Factor on the weights that end a residual branch."""


class Network:
    """A graph in the making: each method adds an operator and returns the name of its result.

    Weights come from one generator with a fixed seed, so a network is the same each time it is made.
    """

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self._name = name
        self._shape = shape
        self._rng = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """Add any operator of one result."""
        name = f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def constant(self, values: np.ndarray) -> str:
        """Add a float32 constant."""
        name = f"constant{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def _random(self, shape: tuple[int, ...], inputs: int, gain: float) -> str:
        return self.constant(self._rng.standard_normal(shape, np.float32) * (gain * math.sqrt(2 / inputs)))

    def _bias(self, channels: int) -> str:
        return self.constant(self._rng.normal(0, 0.1, channels))

    def conv(
        self, data: str, channels: tuple[int, int], kernel: int, stride: int = 1, gain: float = 1.0
    ) -> str:
        """Add a convolution from ``channels[0]`` to ``channels[1]``, padded to keep the size, with its bias."""
        into, out = channels
        weight = self._random((out, into, kernel, kernel), into * kernel * kernel, gain)
        pads = [kernel // 2] * 4
        return self.node("Conv", [data, weight, self._bias(out)], strides=[stride, stride], pads=pads)

    def depthwise(self, data: str, channels: int, stride: int) -> str:
        """Add a 3x3 convolution of each channel by itself, with its bias, and a ReLU."""
        weight = self._random((channels, 1, 3, 3), 9, 1.0)
        shape = {"strides": [stride, stride], "pads": [1] * 4, "group": channels}
        return self.node("Relu", [self.node("Conv", [data, weight, self._bias(channels)], **shape)])

    def conv_relu(self, data: str, channels: tuple[int, int], kernel: int, stride: int = 1) -> str:
        """Add a convolution and a ReLU."""
        return self.node("Relu", [self.conv(data, channels, kernel, stride)])

    def max_pool(self, data: str, padding: int) -> str:
        """Add a 3x3 maximum at stride 2."""
        return self.node("MaxPool", [data], kernel_shape=[3, 3], strides=[2, 2], pads=[padding] * 4)

    def dense(self, data: str, inputs: int, outputs: int, gain: float = 1.0) -> str:
        """Add a matrix product over the last axis, and its bias."""
        product = self.node("MatMul", [data, self._random((inputs, outputs), inputs, gain)])
        return self.node("Add", [product, self._bias(outputs)])

    def classes(self, data: str, channels: int) -> str:
        """Add the mean over the image, and a dense layer to the classes."""
        flat = self.node("Flatten", [self.node("GlobalAveragePool", [data])])
        return self.dense(flat, channels, CLASSES)

    def gelu(self, data: str) -> str:
        """Add ``x * (erf(x / sqrt(2)) + 1) / 2``, as PyTorch exports it."""
        error = self.node("Erf", [self.node("Div", [data, self.constant(np.array(math.sqrt(2)))])])
        product = self.node("Mul", [data, self.node("Add", [error, self.constant(np.array(1.0))])])
        return self.node("Mul", [product, self.constant(np.array(0.5))])

    def model(self, output: str, shape: tuple[int, ...]) -> onnx.ModelProto:
        """Return the model from ``"input"``, of any batch, to this value, of this shape behind the batch."""
        graph = helper.make_graph(
            self._nodes,
            self._name,
            [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["N", *self._shape])],
            [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["N", *shape])],
            self._weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def _resnet(name: str, depths: tuple[int, ...], bottleneck: bool) -> onnx.ModelProto:
    net = Network(name, IMAGE)
    value, channels = net.max_pool(net.conv_relu("input", (3, 64), 7, 2), padding=1), 64
    for stage, depth in enumerate(depths):
        width = 64 << stage
        out = 4 * width if bottleneck else width
        for block in range(depth):
            stride = 2 if stage and not block else 1
            if bottleneck:
                branch = net.conv_relu(net.conv_relu(value, (channels, width), 1), (width, width), 3, stride)
                branch = net.conv(branch, (width, out), 1, gain=BRANCH_GAIN)
            else:
                branch = net.conv_relu(value, (channels, width), 3, stride)
                branch = net.conv(branch, (width, out), 3, gain=BRANCH_GAIN)
            if stride != 1 or channels != out:
                value = net.conv(value, (channels, out), 1, stride)
            value, channels = net.node("Relu", [net.node("Add", [branch, value])]), out
    return net.model(net.classes(value, channels), (CLASSES,))


def resnet18() -> onnx.ModelProto:
    """ResNet-18: 1.8 GMAC."""
    return _resnet("resnet18", (2, 2, 2, 2), bottleneck=False)


def resnet50() -> onnx.ModelProto:
    """ResNet-50, the stride in the 3x3 convolution: 4.1 GMAC."""
    return _resnet("resnet50", (3, 4, 6, 3), bottleneck=True)


def mobilenetv2() -> onnx.ModelProto:
    """MobileNetV2: 0.3 GMAC. ReLU stands for ReLU6, and costs the same."""
    net = Network("mobilenetv2", IMAGE)
    value, channels = net.conv_relu("input", (3, 32), 3, 2), 32
    for expand, out, depth, first in (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
        *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
    ):
        for block in range(depth):
            wide, stride = channels * expand, 1 if block else first
            branch = value if expand == 1 else net.conv_relu(value, (channels, wide), 1)
            branch = net.conv(net.depthwise(branch, wide, stride), (wide, out), 1, gain=BRANCH_GAIN)
            value = net.node("Add", [branch, value]) if stride == 1 and channels == out else branch
            channels = out
    value = net.conv_relu(value, (channels, 1280), 1)
    return net.model(net.classes(value, 1280), (CLASSES,))


def squeezenet() -> onnx.ModelProto:
    """SqueezeNet 1.1, which is made of fire modules: a 1x1 convolution, then a 1x1 beside a 3x3 one. 0.35 GMAC."""
    net = Network("squeezenet", IMAGE)
    value, channels = net.conv_relu("input", (3, 64), 3, 2), 64
    for squeezed, expanded, pooled in (
        *((16, 64, True), (16, 64, False)),
        *((32, 128, True), (32, 128, False)),
        *((48, 192, True), (48, 192, False), (64, 256, False), (64, 256, False)),
    ):
        if pooled:
            value = net.max_pool(value, padding=0)
        value = net.conv_relu(value, (channels, squeezed), 1)
        parts = [net.conv_relu(value, (squeezed, expanded), kernel) for kernel in (1, 3)]
        value, channels = net.node("Concat", parts, axis=1), 2 * expanded
    value = net.conv_relu(value, (channels, CLASSES), 1)
    return net.model(net.node("Flatten", [net.node("GlobalAveragePool", [value])]), (CLASSES,))


def bert(layers: int = 2) -> onnx.ModelProto:
    """The matrix products of a BERT-base encoder, 0.9 GMAC a layer; query, key and value are added, not attended."""
    net = Network("bert", TOKENS)
    width = TOKENS[-1]
    value = "input"
    for _ in range(layers):
        query, key, context = (net.dense(value, width, width) for _ in range(3))
        mixed = net.node("Add", [net.node("Add", [query, key]), context])
        value = net.node("Add", [value, net.dense(mixed, width, width, BRANCH_GAIN / 4)])
        inner = net.gelu(net.dense(value, width, 4 * width))
        value = net.node("Add", [value, net.dense(inner, 4 * width, width, BRANCH_GAIN)])
    return net.model(value, TOKENS)
