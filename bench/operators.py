"""Models of one operator, for sweeps: a matrix product or a convolution, in float and in integers.

The integer model is ONNX's own QLinearMatMul or QLinearConv, u8 to u8 with s8 weights per channel: what an engine
computes between two tensors in memory, requantization and all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..passes.hub.lane_sums import GROUP, limit_sums
from ..passes.hub.packing import merges_columns
from ..targets.row import LaneSums

OPSET = 13
NODE = "operator"
"""Name of the one node."""
INPUT_SCALE, WEIGHT_SCALE = 0.02, 0.01
INPUT_ZERO_POINT, OUTPUT_ZERO_POINT = 128, 128
WEIGHT_SIGMA = 36.0
"""Deviation of the weights before they are limited: normal ones, whose largest of some thousand is 127."""
LANE_SUMS = LaneSums(128, steps=2)
"""What AVX2 asks of weights that meet in a lane (``targets.rows``)."""


@dataclass(frozen=True)
class Operator:
    """A convolution over ``inputs`` channels, padded to keep the size; a matrix product has no ``kernel``.

    Attributes
    ----------
    origin : the network that has it.
    rows : output positions: rows of a matrix; of a convolution, height and width of the (square) result.
    channels : output channels.
    inputs : input channels.
    kernel : height and width of the kernel; 0 for a matrix product.
    stride : of the convolution.
    """

    origin: str
    rows: int
    channels: int
    inputs: int
    kernel: int = 0
    stride: int = 1

    @property
    def name(self) -> str:
        """Systematic name, which the command takes."""
        if not self.kernel:
            return f"{self.rows}x{self.channels}x{self.inputs}"
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{self.kernel}x{self.kernel}{stride}-{self.inputs}-{self.channels}-{self.rows}"

    @property
    def macs(self) -> int:
        """Multiplications."""
        return self.positions * self.channels * self.summed

    @property
    def positions(self) -> int:
        """How many results there are a channel."""
        return self.rows**2 if self.kernel else self.rows

    @property
    def summed(self) -> int:
        """How many products there are a result."""
        return self.inputs * max(1, self.kernel) ** 2

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input: ``[M, K]``, or ``[1, C, H, W]``."""
        if not self.kernel:
            return self.rows, self.inputs
        size = self.rows * self.stride
        return 1, self.inputs, size, size

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result: ``[M, N]``, or ``[1, O, H, W]``."""
        return (1, self.channels, self.rows, self.rows) if self.kernel else (self.rows, self.channels)

    @property
    def padding(self) -> tuple[int, int]:
        """Zeros in front of and behind each axis of the image."""
        front = self.kernel // 2
        # An even size at stride 2 needs one row less behind than in front.
        back = (self.rows - 1) * self.stride + self.kernel - front - self.rows * self.stride
        return front, max(back, 0)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weights: ``[K, N]``, or ``[O, I, k, k]``."""
        if not self.kernel:
            return self.inputs, self.channels
        return self.channels, self.inputs, self.kernel, self.kernel


OPERATORS: dict[str, Operator] = {
    row.name: row
    for row in (
        Operator("", 784, 128, 1152),
        Operator("mobilenetv2", 12544, 96, 16),
        Operator("mobilenetv2", 3136, 144, 24),
        Operator("mobilenetv2", 784, 192, 32),
        Operator("mobilenetv2", 196, 576, 96),
        Operator("mobilenetv2", 196, 96, 576),
        Operator("mobilenetv2", 49, 960, 160),
        Operator("mobilenetv2", 49, 320, 960),
        Operator("bert", 128, 768, 768),
        Operator("bert", 128, 3072, 768),
        Operator("bert", 128, 768, 3072),
        Operator("resnet50", 112, 64, 3, kernel=7, stride=2),
        Operator("resnet50", 56, 64, 64, kernel=3),
        Operator("resnet50", 28, 128, 128, kernel=3),
        Operator("resnet50", 14, 256, 256, kernel=3),
        Operator("resnet50", 7, 512, 512, kernel=3),
        Operator("resnet50", 56, 256, 64, kernel=1),
        Operator("resnet50", 14, 256, 1024, kernel=1),
        Operator("resnet50", 7, 2048, 512, kernel=1),
        Operator("resnet50", 14, 1024, 512, kernel=1, stride=2),
    )
}
"""What is swept by default, by name."""


def sample(operator: Operator, is_int8: bool) -> np.ndarray:
    """Return an input: uint8, or the float32 that it stands for."""
    integers = np.random.default_rng(0).integers(0, 256, operator.input_shape).astype(np.uint8)
    if is_int8:
        return integers
    return (integers.astype(np.float32) - INPUT_ZERO_POINT) * np.float32(INPUT_SCALE)


def weights(operator: Operator) -> np.ndarray:
    """Return the int8 weights: such as tvmq gives to CPUs without VNNI, so that no engine saturates."""
    normal = np.random.default_rng(1).normal(0, WEIGHT_SIGMA, operator.weight_shape)
    _, *kernel = operator.weight_shape
    merged = bool(operator.kernel) and merges_columns(kernel, GROUP, dilation=1)
    axis = 0 if operator.kernel else 1
    integers, _ = limit_sums(normal, np.ones(operator.channels), axis, LANE_SUMS, merged)
    return integers


def float_model(operator: Operator) -> onnx.ModelProto:
    """Return MatMul or Conv, without a bias, from ``"x"`` to ``"y"``."""
    arrays = {"w": weights(operator).astype(np.float32) * np.float32(WEIGHT_SCALE)}
    return _model(operator, ["x", "w"], arrays, onnx.TensorProto.FLOAT, "MatMul", "Conv")


def output_scale(operator: Operator) -> float:
    """Return the scale with which three deviations of the result fill uint8."""
    input_sigma = INPUT_SCALE * np.sqrt(256**2 / 12)
    return float(WEIGHT_SIGMA * WEIGHT_SCALE * input_sigma * np.sqrt(operator.summed) * 3 / 127)


def int8_model(operator: Operator) -> onnx.ModelProto:
    """Return QLinearMatMul or QLinearConv from ``"x"`` to ``"y"``."""
    arrays: dict[str, np.ndarray] = {
        "x_scale": np.array(INPUT_SCALE, np.float32),
        "x_zero_point": np.array(INPUT_ZERO_POINT, np.uint8),
        "w": weights(operator),
        "w_scale": np.full(operator.channels, WEIGHT_SCALE, np.float32),
        "w_zero_point": np.zeros(operator.channels, np.int8),
        "y_scale": np.array(output_scale(operator), np.float32),
        "y_zero_point": np.array(OUTPUT_ZERO_POINT, np.uint8),
    }
    return _model(operator, ["x", *arrays], arrays, onnx.TensorProto.UINT8, "QLinearMatMul", "QLinearConv")


def _model(
    operator: Operator,
    inputs: list[str],
    arrays: dict[str, np.ndarray],
    dtype: int,
    matmul: str,
    conv: str,
) -> onnx.ModelProto:
    if operator.kernel:
        front, back = operator.padding
        node = helper.make_node(
            *(conv, inputs, ["y"]),
            name=NODE,
            strides=[operator.stride] * 2,
            pads=[front, front, back, back],
        )
    else:
        node = helper.make_node(matmul, inputs, ["y"], name=NODE)
    graph = helper.make_graph(
        [node],
        operator.name,
        [helper.make_tensor_value_info("x", dtype, operator.input_shape)],
        [helper.make_tensor_value_info("y", dtype, operator.output_shape)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def channels_last(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model between transposes, so that input and result are NHWC; one of matrices stays as it is."""
    if len(model.graph.input[0].type.tensor_type.shape.dim) != 4:
        return model
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    (node,) = twin.graph.node
    node.input[0], node.output[0] = "x_nchw", "y_nchw"
    before = helper.make_node("Transpose", ["x"], ["x_nchw"], name="before", perm=[0, 3, 1, 2])
    after = helper.make_node("Transpose", ["y_nchw"], ["y"], name="after", perm=[0, 2, 3, 1])
    del twin.graph.node[:]
    twin.graph.node.extend([before, node, after])
    for value in (*twin.graph.input, *twin.graph.output):
        dims = value.type.tensor_type.shape.dim
        batch, channels, height, width = (dim.dim_value for dim in dims)
        for dim, extent in zip(dims, (batch, height, width, channels), strict=True):
            dim.dim_value = extent
    return twin
