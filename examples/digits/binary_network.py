"""A binary network for digits in PyTorch, and as ONNX written node by node.

    image [1,1,8,8] -> 3x3 -> sign -> 3x3 (+ shortcut) -> sign -> 3x3 -> pool -> sign -> 3x3 -> average -> dense [1,10]

The three convolutions behind a sign have weights of one bit (Courbariaux et al., "Binarized Neural Networks", 2016);
there is a shortcut around the first of them (Liu et al., "Bi-Real Net", 2018).
"""

from __future__ import annotations

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

CHANNELS, DEEP, CLASSES = 32, 64, 10


class _Sign(torch.autograd.Function):
    """Signs, whose gradient is that of a clip to -1 and 1: the straight-through estimator (Bengio et al., 2013)."""

    @staticmethod
    def forward(context, values: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(values)
        return torch.where(values >= 0, 1.0, -1.0)

    @staticmethod
    def backward(context, gradient: torch.Tensor) -> torch.Tensor:
        (values,) = context.saved_tensors
        return gradient * (values.abs() <= 1)


sign = _Sign.apply


class BinaryConvolution(nn.Module):
    """A 3x3 convolution of signs with signs, and the batch norm behind it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3).uniform_(-0.5, 0.5))
        self.norm = nn.BatchNorm2d(outputs)

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(sign(values), sign(self.weight), padding=1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.norm(self.sums(values))


class Network(nn.Module):
    """Scores of the ten digits, ``[N, 10]``, for images ``[N, 1, 8, 8]`` with values from 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, CHANNELS, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.first = BinaryConvolution(CHANNELS, CHANNELS)
        self.second = BinaryConvolution(CHANNELS, DEEP)
        self.third = BinaryConvolution(DEEP, DEEP)
        self.classify = nn.Linear(DEEP, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        stem = self.norm(self.stem(image))
        wide = stem + self.first(stem)
        small = self.second.norm(functional.max_pool2d(self.second.sums(wide), 2))
        return self.classify(self.third(small).mean((2, 3)))


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

    def convolution(self, name: str, weight: torch.Tensor, source: str) -> str:
        return self.node(
            "Conv", f"{name}/conv", [source, self.weight(f"{name}/weight", weight)], pads=[1] * 4
        )

    def norm(self, name: str, norm: nn.BatchNorm2d, source: str) -> str:
        parameters = {
            "scale": norm.weight,
            "bias": norm.bias,
            "mean": norm.running_mean,
            "variance": norm.running_var,
        }
        names = [self.weight(f"{name}/{key}", value) for key, value in parameters.items()]
        return self.node("BatchNormalization", f"{name}/norm", [source, *names], epsilon=norm.eps)

    def binary(self, name: str, layer: BinaryConvolution, source: str) -> str:
        signs = self.node("Sign", f"{name}/sign", [source])
        return self.convolution(name, sign(layer.weight), signs)


def to_onnx(network: Network) -> onnx.ModelProto:
    """Return the trained network as an ONNX model with the input ``image`` and the output ``scores``."""
    graph = _Graph()
    stem = graph.norm("stem", network.norm, graph.convolution("stem", network.stem.weight, "image"))
    first = graph.norm("first", network.first.norm, graph.binary("first", network.first, stem))
    wide = graph.node("Add", "shortcut", [stem, first])
    second = graph.binary("second", network.second, wide)
    pooled = graph.node("MaxPool", "second/pool", [second], kernel_shape=[2, 2], strides=[2, 2])
    small = graph.norm("second", network.second.norm, pooled)
    third = graph.norm("third", network.third.norm, graph.binary("third", network.third, small))
    flat = graph.node("Flatten", "flatten", [graph.node("GlobalAveragePool", "average", [third])])
    weight = graph.weight("classify/weight", network.classify.weight)
    bias = graph.weight("classify/bias", network.classify.bias)
    graph.node("Gemm", "classify", [flat, weight, bias], transB=1)
    graph.nodes[-1].output[0] = "scores"
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES])
    proto = helper.make_graph(graph.nodes, "binary_digits", [image], [scores], graph.weights)
    model = helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", 17)], producer_name="tvmq binary digits"
    )
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model
