"""Small networks that came quantized: QONNX, operators on integers (QOperator), Q and DQ of the newest operator set."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
QONNX = "qonnx.custom_op.general"

node = helper.make_node
Constants = dict[str, np.ndarray | TensorProto]


def networks() -> dict[str, onnx.ModelProto]:
    """Return them by name."""
    made = {
        "qonnx": _qonnx(),
        "qonnx_thresholds": _thresholds(),
        "qlinear_conv": _qlinear_conv(),
        "qlinear_matmul": _qlinear_matmul(),
        "integer_products": _integer_products(),
        "qattention": _qattention(),
    }
    if onnx.defs.onnx_opset_version() >= 25:
        made["narrow_pairs"] = _narrow_pairs()
    return made


def _model(
    nodes, shape: tuple[int, ...], constants: Constants, opset: int = 17, domain: str = ""
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
            for name, value in constants.items()
        ],
    )
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def _floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def _integers(*shape: int, dtype: str = "int8") -> np.ndarray:
    return np.random.default_rng(4).integers(-100, 100, shape).astype(dtype)


def _f(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def _qonnx() -> onnx.ModelProto:
    return _model(
        [
            node(
                "Quant", ["x", "s", "z", "b8"], ["q"], domain=QONNX, signed=1, narrow=0, rounding_mode="ROUND"
            ),
            node(
                "Quant",
                ["w", "ws", "z", "b4"],
                ["v"],
                domain=QONNX,
                signed=1,
                narrow=1,
                rounding_mode="ROUND",
            ),
            node("Conv", ["q", "v"], ["c"], name="conv"),
            node(
                "Quant", ["c", "s", "z", "b4"], ["r"], domain=QONNX, signed=0, narrow=0, rounding_mode="FLOOR"
            ),
            node("BipolarQuant", ["g", "s"], ["h"], domain=QONNX),
            node("Conv", ["r", "h"], ["e"]),
            node("Trunc", ["e", "s", "z", "b8", "b4"], ["y"], domain=QONNX, rounding_mode="FLOOR"),
        ],
        (1, 3, 5, 5),
        {
            "s": _f(0.1),
            "z": _f(0),
            "b8": _f(8),
            "b4": _f(4),
            "w": _floats(4, 3, 3, 3),
            "ws": np.full((4, 1, 1, 1), 0.05, np.float32),
            "g": _floats(2, 4, 1, 1),
        },
        domain=QONNX,
    )


def _thresholds() -> onnx.ModelProto:
    return _model(
        [
            node(
                *("MultiThreshold", ["x", "t"], ["m"]),
                domain=QONNX, out_dtype="UINT4", out_scale=0.5, out_bias=-1.0, data_layout="NCHW",
            ),
            node("Conv", ["m", "w"], ["y"]),
        ],
        (1, 2, 4, 4),
        {"t": np.sort(_floats(2, 15), axis=1), "w": _floats(3, 2, 1, 1)},
        domain=QONNX,
    )  # fmt: skip


def _qlinear_conv() -> onnx.ModelProto:
    m = {"domain": MICROSOFT}
    return _model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "t", "z", "b"], ["c"], pads=[1, 1, 1, 1]),
            node("QLinearAdd", ["c", "t", "z", "c", "t", "z", "s", "z"], ["a"], **m),
            node("QLinearLeakyRelu", ["a", "s", "z", "t", "z"], ["l"], alpha=0.1, **m),
            node("QLinearConcat", ["s", "z", "a", "s", "z", "l", "t", "z"], ["k"], axis=1, **m),
            node("QLinearAveragePool", ["k", "s", "z", "s", "z"], ["v"], kernel_shape=[2, 2], **m),
            node("QLinearGlobalAveragePool", ["v", "s", "z", "t", "z"], ["p"], channels_last=0, **m),
            node("QLinearSigmoid", ["p", "t", "z", "s", "z"], ["g"], **m),
            node("QLinearMul", ["v", "s", "z", "g", "s", "z", "t", "z"], ["o"], **m),
            node("DequantizeLinear", ["o", "t", "z"], ["y"]),
        ],
        (1, 3, 5, 5),
        {
            "s": _f(0.1),
            "t": _f(0.2),
            "z": np.array(128, np.uint8),
            "w": _integers(4, 3, 3, 3),
            "ws": np.full(4, 0.01, np.float32),
            "wz": np.zeros(4, np.int8),
            "b": _integers(4, dtype="int32"),
        },
        domain=MICROSOFT,
    )


def _qlinear_matmul() -> onnx.ModelProto:
    m = {"domain": MICROSOFT}
    return _model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("QLinearMatMul", ["q", "s", "z", "w", "ws", "wz", "t", "z"], ["p"]),
            node("QGemm", ["p", "t", "z", "w", "ws", "wz", "b", "t", "z"], ["g"], alpha=1.0, transB=1, **m),
            node("QLinearSoftmax", ["g", "t", "z", "s", "z"], ["f"], axis=-1, opset=13, **m),
            node("QLinearWhere", ["c", "f", "s", "z", "g", "t", "z", "s", "z"], ["h"], **m),
            node("QLinearReduceMean", ["h", "s", "z", "t", "z"], ["r"], axes=[1], keepdims=1, **m),
            node("DequantizeLinear", ["r", "t", "z"], ["y"]),
        ],
        (2, 8),
        {
            "s": _f(0.1),
            "t": _f(0.2),
            "z": np.array(0, np.int8),
            "w": _integers(8, 8),
            "ws": np.full(8, 0.01, np.float32),
            "wz": np.zeros(8, np.int8),
            "b": _integers(8, dtype="int32"),
            "c": np.array([True, False] * 4),
        },
        domain=MICROSOFT,
    )


def _integer_products() -> onnx.ModelProto:
    m = {"domain": MICROSOFT}
    return _model(
        [
            node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
            node("MatMulInteger", ["q", "w", "z", "wz"], ["i"]),
            node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
            node("Mul", ["s", "ws"], ["scale"]),
            node("Mul", ["f", "scale"], ["p"]),
            node("DynamicQuantizeMatMul", ["p", "w", "ws", "wz", "b"], ["d"], **m),
            node("MatMulIntegerToFloat", ["q", "w", "s", "ws", "z", "wz", "b"], ["e"], **m),
            node("Add", ["d", "e"], ["y"]),
        ],
        (2, 8),
        {"w": _integers(8, 8), "ws": _f(0.02), "wz": np.array(0, np.int8), "b": _floats(8)},
        domain=MICROSOFT,
    )


def _qattention() -> onnx.ModelProto:
    m = {"domain": MICROSOFT}
    return _model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            node("QAttention", ["q", "w", "b", "s", "ws", "mask", "z", "wz"], ["a"], num_heads=2, **m),
            node("Add", ["a", "x"], ["y"]),
        ],
        (1, 4, 8),
        {
            "s": _f(0.05),
            "z": np.array(128, np.uint8),
            "w": _integers(8, 24),
            "ws": _f(0.01),
            "wz": np.array(0, np.int8),
            "b": _floats(24),
            "mask": np.array([4], np.int32),
        },
        domain=MICROSOFT,
    )


def _narrow_pairs() -> onnx.ModelProto:
    four = [int(value) for value in np.random.default_rng(5).integers(-8, 8, 32 * 4)]
    two = [value % 4 - 2 for value in four[:12]]
    return _model(
        [
            node("QuantizeLinear", ["x", "s", "z"], ["q"], output_dtype=0),
            node("DequantizeLinear", ["q", "s", "z"], ["h"]),
            node("DequantizeLinear", ["w", "ws", "wz"], ["v"], axis=0, block_size=16),
            node("MatMul", ["h", "v"], ["m"]),
            node("QuantizeLinear", ["m", "s"], ["p"], output_dtype=TensorProto.INT4, axis=1),
            node("DequantizeLinear", ["p", "s"], ["r"]),
            node("DequantizeLinear", ["u", "us"], ["t"], axis=1),
            node("MatMul", ["r", "t"], ["n"]),
            node("QuantizeLinear", ["n", "bs"], ["b"], axis=1, block_size=3, output_dtype=TensorProto.INT16),
            node(
                "DequantizeLinear", ["b", "bs"], ["y"], axis=1, block_size=3, output_dtype=TensorProto.FLOAT
            ),
        ],
        (2, 32),
        {
            "s": _f(0.1),
            "z": helper.make_tensor("z", TensorProto.UINT4, [], [8]),
            "w": helper.make_tensor("w", TensorProto.INT4, [32, 4], four),
            "ws": np.full((2, 4), 0.1, np.float32),
            "wz": helper.make_tensor("wz", TensorProto.INT4, [2, 4], four[:8]),
            "u": helper.make_tensor("u", TensorProto.INT2, [4, 3], two),
            "us": np.full(3, 0.1, np.float32),
            "bs": np.full((2, 1), 0.01, np.float32),
        },
        opset=25,
    )
