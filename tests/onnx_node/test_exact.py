"""The integer operators give ONNX's integers on random values, around the sizes of tiles.

Scales are powers of two wherever two of them meet in one formula: then each order of the float operations
gives the same numbers, and equality is what ONNX asks for.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from .path import compile_and_run

SIZES = (1, 7, 8, 9, 31, 32, 33)
DTYPES = ("int8", "uint8")


def _tensor_type(array: np.ndarray) -> int:
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def _model(op_type: str, x: np.ndarray, constants: list[np.ndarray], outputs: int = 1, **attributes):
    """One node on the input ``x`` and constants."""
    names = [f"c{index}" for index in range(len(constants))]
    node = helper.make_node(op_type, ["x", *names], [f"y{index}" for index in range(outputs)], **attributes)
    graph = helper.make_graph(
        [node],
        op_type,
        [helper.make_tensor_value_info("x", _tensor_type(x), x.shape)],
        [onnx.ValueInfoProto(name=name) for name in node.output],
        [numpy_helper.from_array(value, name) for value, name in zip(constants, names, strict=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def _random(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max + 1, shape, dtype)


def _scalar(dtype: str, value: float) -> np.ndarray:
    return np.array(value, dtype)


def _assert_as_onnx(model: onnx.ModelProto, x: np.ndarray) -> None:
    expected = ReferenceEvaluator(model).run(None, {"x": x})
    for result, wanted in zip(compile_and_run(model, {"x": x}), expected, strict=True):
        assert result.dtype == wanted.dtype
        np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantize_rounds_half_to_even_and_saturates(dtype: str) -> None:
    x = np.arange(-600, 600, dtype=np.float32) / 4
    _assert_as_onnx(_model("QuantizeLinear", x, [_scalar("float32", 0.5), _scalar(dtype, 3)]), x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantize_and_dequantize_per_axis(dtype: str) -> None:
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.01, 0.1, 9).astype(np.float32)
    zero_point = _random(dtype, (9,), 1)
    x = rng.normal(0, 4, (2, 9, 33)).astype(np.float32)
    _assert_as_onnx(_model("QuantizeLinear", x, [scale, zero_point], axis=1), x)
    q = _random(dtype, (2, 9, 33), 2)
    _assert_as_onnx(_model("DequantizeLinear", q, [scale, zero_point], axis=1), q)


@pytest.mark.parametrize("size", SIZES)
def test_dynamic_quantize(size: int) -> None:
    x = np.random.default_rng(size).normal(0.5, 3, (3, size)).astype(np.float32)
    _assert_as_onnx(_model("DynamicQuantizeLinear", x, [], outputs=3), x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_matmul_integer(dtype: str, size: int) -> None:
    x, w = _random(dtype, (5, size), 0), _random("int8", (size, size + 1), 1)
    constants = [w, _scalar(dtype, 7), _random("int8", (size + 1,), 2)]
    _assert_as_onnx(_model("MatMulInteger", x, constants), x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (8, 1), (9, 1), (9, 9), (8, 2)])
def test_conv_integer(dtype: str, channels: int, groups: int) -> None:
    x, w = (
        _random(dtype, (1, channels, 9, 7), 0),
        _random("int8", (2 * channels, channels // groups, 3, 3), 1),
    )
    constants = [w, _scalar(dtype, 5), _scalar("int8", 0)]
    attributes = {"pads": [1, 0, 1, 2], "strides": [2, 1], "group": groups}
    _assert_as_onnx(_model("ConvInteger", x, constants, **attributes), x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_qlinear_matmul(dtype: str, size: int) -> None:
    x, w = _random(dtype, (5, size), 0), _random(dtype, (size, size + 1), 1)
    scale = [_scalar("float32", 2.0**-exponent) for exponent in (4, 7, 1)]
    zero = [_scalar(dtype, value) for value in (3, 1, 5)]
    constants = [scale[0], zero[0], w, scale[1], zero[1], scale[2], zero[2]]
    _assert_as_onnx(_model("QLinearMatMul", x, constants), x)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (8, 1), (9, 1), (9, 9), (8, 2)])
def test_qlinear_conv(channels: int, groups: int) -> None:
    x, w = (
        _random("uint8", (1, channels, 9, 7), 0),
        _random("int8", (2 * channels, channels // groups, 3, 3), 1),
    )
    exponents = np.random.default_rng(2).integers(5, 9, 2 * channels)
    constants = [
        _scalar("float32", 2.0**-4),
        _scalar("uint8", 128),
        w,
        (2.0**-exponents).astype(np.float32),
        np.zeros(2 * channels, np.int8),
        _scalar("float32", 0.5),
        _scalar("uint8", 120),
        np.random.default_rng(3).integers(-4000, 4000, 2 * channels, np.int32),
    ]
    _assert_as_onnx(_model("QLinearConv", x, constants, pads=[1, 1, 1, 1], group=groups), x)
