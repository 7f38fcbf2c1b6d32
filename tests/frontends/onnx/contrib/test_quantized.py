"""onnxruntime's operators on quantized tensors: the float operator between Q and DQ, and onnxruntime's own results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import helper

from ....onnx_node.path import compile_and_run
from ...nodes import one_node

DTYPES = ["uint8", "int8"]
X_SCALE, Y_SCALE = np.float32(0.04), np.float32(0.05)


def integers(*shape: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max + 1, shape).astype(dtype)


def zero(dtype: str, away: int = 0) -> np.ndarray:
    return np.asarray((128 if dtype == "uint8" else 0) + away, dtype)


def real(values: np.ndarray, scale, zero_point) -> np.ndarray:
    return ((values.astype(np.int32) - zero_point.astype(np.int32)) * scale).astype(np.float32)


def quantized(values: np.ndarray, scale, zero_point: np.ndarray) -> np.ndarray:
    limits = np.iinfo(zero_point.dtype)
    rounded = np.rint(values / scale) + zero_point.astype(np.int32)
    return np.clip(rounded, limits.min, limits.max).astype(zero_point.dtype)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def run(op_type: str, *inputs: np.ndarray | None, weights: tuple[int, ...] = (), **attributes) -> np.ndarray:
    """Return the result of a node whose scales, zero points and ``weights`` are constant."""
    constants = {at for at, value in enumerate(inputs) if value is not None and np.size(value) == 1} | {
        *weights
    }
    version = attributes.pop("opset", None)  # of a node, and not of the model
    model, fed = one_node(op_type, *inputs, domain="com.microsoft", constants=sorted(constants), **attributes)
    if version is not None:
        model.graph.node[0].attribute.append(helper.make_attribute("opset", version))
    return compile_and_run(model, fed)[0]


Case = tuple[str, Callable[[np.ndarray], np.ndarray], tuple[int, ...], dict]

UNARY: list[Case] = [
    ("QLinearSigmoid", lambda x: 1 / (1 + np.exp(-x)), (2, 3, 5), {}),
    ("QLinearLeakyRelu", lambda x: np.where(x < 0, 0.2 * x, x), (2, 3, 5), {"alpha": 0.2}),
    ("QLinearGlobalAveragePool", lambda x: x.mean((2, 3), keepdims=True), (2, 3, 5, 4), {"channels_last": 0}),
    ("QLinearGlobalAveragePool", lambda x: x.mean((1, 2), keepdims=True), (2, 5, 4, 3), {"channels_last": 1}),
    ("QLinearReduceMean", lambda x: x.mean(1, keepdims=True), (2, 3, 5), {"axes": [1]}),
    ("QLinearReduceMean", lambda x: x.mean((0, 2)), (2, 3, 5), {"axes": [0, 2], "keepdims": 0}),
    ("QLinearSoftmax", lambda x: softmax(x, 1), (2, 3, 5), {"axis": 1, "opset": 13}),
    (
        "QLinearSoftmax",
        lambda x: softmax(x.reshape(2, 15), 1).reshape(x.shape),
        (2, 3, 5),
        {"axis": 1, "opset": 11},
    ),
    (
        "QLinearAveragePool",
        lambda x: x.reshape(1, 2, 3, 2, 2, 2).mean((3, 5)),
        (1, 2, 6, 4),
        {"kernel_shape": [2, 2], "strides": [2, 2]},
    ),
]


def near(found: np.ndarray, expected: np.ndarray, share: float = 0.02) -> None:
    """Check that few numbers are one step off: those that floats round the other way."""
    assert found.dtype == expected.dtype and found.shape == expected.shape
    away = np.abs(found.astype(int) - expected.astype(int))
    assert away.max() <= 1 and (away > 0).sum() <= max(1, share * away.size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("op_type", "define", "shape", "attributes"), UNARY)
def test_of_one_tensor(op_type, define, shape, attributes, dtype):
    x, x_zero, y_zero = integers(*shape, dtype=dtype), zero(dtype, 3), zero(dtype, -7)
    scale = np.float32(1 / 256) if op_type in ("QLinearSoftmax", "QLinearSigmoid") else Y_SCALE
    found = run(op_type, x, X_SCALE, x_zero, scale, y_zero, **attributes)
    near(found, quantized(define(real(x, X_SCALE, x_zero)), scale, y_zero))
    # Without zero points both are around 0; one scale may be a vector of one element.
    found = run(op_type, x, X_SCALE.reshape(1), None, scale, **attributes)
    nothing = np.zeros((), dtype)
    near(found, quantized(define(real(x, X_SCALE, nothing)), scale, nothing))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("op_type", "define"), [("QLinearAdd", np.add), ("QLinearMul", np.multiply)])
def test_of_two_tensors(op_type, define, dtype):
    a, b = integers(2, 3, 5, dtype=dtype), integers(3, 1, dtype=dtype, seed=1)
    zeros = [zero(dtype, away) for away in (4, -9, 2)]
    inputs = [a, X_SCALE, zeros[0], b, Y_SCALE, zeros[1], np.float32(0.1), zeros[2]]
    found = run(op_type, *inputs)
    expected = define(real(a, X_SCALE, zeros[0]), real(b, Y_SCALE, zeros[1]))
    near(found, quantized(expected, np.float32(0.1), zeros[2]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_concat(dtype):
    a, b = integers(2, 3, dtype=dtype), integers(2, 4, dtype=dtype, seed=1)
    y_zero, a_zero, b_zero = (zero(dtype, away) for away in (0, 5, -5))
    inputs = [Y_SCALE, y_zero, a, X_SCALE, a_zero, b, np.float32(0.02), b_zero]
    found = run("QLinearConcat", *inputs, axis=1)
    expected = np.concatenate([real(a, X_SCALE, a_zero), real(b, np.float32(0.02), b_zero)], axis=1)
    near(found, quantized(expected, Y_SCALE, y_zero))


@pytest.mark.parametrize("dtype", DTYPES)
def test_where(dtype):
    x, y = integers(2, 3, dtype=dtype), integers(2, 3, dtype=dtype, seed=1)
    condition = np.array([[True, False, True], [False, False, True]])
    inputs = [condition, x, X_SCALE, zero(dtype), y, Y_SCALE, zero(dtype, 2), Y_SCALE, zero(dtype, 1)]
    found = run("QLinearWhere", *inputs)
    expected = np.where(condition, real(x, X_SCALE, zero(dtype)), real(y, Y_SCALE, zero(dtype, 2)))
    near(found, quantized(expected, Y_SCALE, zero(dtype, 1)))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("is_float", [False, True])
def test_gemm(per_channel, transposed, is_float):
    a, b = integers(3, 8), integers(8, 5, dtype="int8", seed=1)
    bias = np.arange(-200, 300, 100, dtype=np.int32)
    b_scale = np.linspace(0.01, 0.02, 5, dtype=np.float32) if per_channel else np.float32(0.015)
    b_zero = np.zeros(np.shape(b_scale), np.int8)
    given = np.ascontiguousarray(b.T) if transposed else b
    inputs = [a, X_SCALE, zero("uint8", 2), given, b_scale, b_zero, bias]
    output = [] if is_float else [np.float32(0.1), zero("uint8")]
    found = run("QGemm", *inputs, *output, alpha=0.5, transB=transposed, weights=(3, 4, 5, 6))
    sums = (a.astype(np.int32) - 130) @ b.astype(np.int32) + bias
    expected = (sums * (np.float32(0.5) * X_SCALE * b_scale)).astype(np.float32)
    if is_float:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    else:
        near(found, quantized(expected, np.float32(0.1), zero("uint8")))
