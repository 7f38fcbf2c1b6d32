"""The digits network in PyTorch, and as ONNX written node by node.

    image [1,1,8,8] -> stem 3x3 -> residual block -> 3x3, stride 2 -> global average -> dense -> scores [1,10]

The residual block is MobileNetV2's: 1x1 to more channels, depthwise 3x3, 1x1 back, add. Each convolution is
followed by a batch norm that the ONNX file keeps, so that there is something to fold.
"""

from __future__ import annotations

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

CHANNELS, EXPANDED, DEEP, CLASSES = 32, 64, 48, 10


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    padding = size // 2
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class Network(nn.Module):
    """Scores of the ten digits, ``[N, 10]``, for images ``[N, 1, 8, 8]`` with values from 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(1, CHANNELS, 3)
        self.expand = _convolution(CHANNELS, EXPANDED, 1)
        self.depthwise = _convolution(EXPANDED, EXPANDED, 3, groups=EXPANDED)
        self.project = _convolution(EXPANDED, CHANNELS, 1)
        self.down = _convolution(CHANNELS, DEEP, 3, stride=2)
        self.classify = nn.Linear(DEEP, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        stem = torch.relu(self.stem(image))
        wide = torch.relu(self.expand(stem))
        wide = torch.relu(self.depthwise(wide))
        deep = torch.relu(self.down(stem + self.project(wide)))
        return self.classify(deep.mean((2, 3)))


class _Graph:
    """Nodes and weights of an ONNX graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, value: torch.Tensor) -> str:
        self.weights.append(numpy_helper.from_array(value.detach().numpy(), name))
        return name

    def node(self, op: str, name: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [f"{name}:out"], name=name, **attributes))
        return f"{name}:out"

    def convolution(self, name: str, layer: nn.Sequential, source: str) -> str:
        convolution, norm = layer
        weight = self.weight(f"{name}/weight", convolution.weight)
        padding = [*convolution.padding, *convolution.padding]
        result = self.node(
            "Conv",
            f"{name}/conv",
            [source, weight],
            strides=list(convolution.stride),
            pads=padding,
            group=convolution.groups,
        )
        parameters = {
            "scale": norm.weight,
            "bias": norm.bias,
            "mean": norm.running_mean,
            "variance": norm.running_var,
        }
        names = [self.weight(f"{name}/{key}", value) for key, value in parameters.items()]
        return self.node("BatchNormalization", f"{name}/norm", [result, *names], epsilon=norm.eps)


def to_onnx(network: Network) -> onnx.ModelProto:
    """Return the trained network as an ONNX model with the input ``image`` and the output ``scores``."""
    graph = _Graph()
    stem = graph.node("Relu", "stem/relu", [graph.convolution("stem", network.stem, "image")])
    wide = graph.node("Relu", "expand/relu", [graph.convolution("expand", network.expand, stem)])
    wide = graph.node("Relu", "depthwise/relu", [graph.convolution("depthwise", network.depthwise, wide)])
    block = graph.node("Add", "residual", [graph.convolution("project", network.project, wide), stem])
    deep = graph.node("Relu", "down/relu", [graph.convolution("down", network.down, block)])
    pooled = graph.node("Flatten", "flatten", [graph.node("GlobalAveragePool", "pool", [deep])])
    weight = graph.weight("classify/weight", network.classify.weight)
    bias = graph.weight("classify/bias", network.classify.bias)
    graph.node("Gemm", "classify", [pooled, weight, bias], transB=1)
    graph.nodes[-1].output[0] = "scores"
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES])
    proto = helper.make_graph(graph.nodes, "digits", [image], [scores], graph.weights)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], producer_name="tvmq digits")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model
