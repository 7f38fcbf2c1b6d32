"""Converters of elementwise operators, positions, products and reductions: what ONNX's node tests leave out.

Random graphs over all of them are in ``tests/differential``.
"""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ..nodes import floats, one_node, run_node


@pytest.mark.parametrize("op_type", ["Acos", "Asinh", "Atan", "Elu", "Selu", "Sinh", "ThresholdedRelu"])
def test_float16(op_type: str) -> None:
    x = floats(3, 5).astype("float16")
    (wide,) = run_node(op_type, x.astype("float32"))
    (result,) = run_node(op_type, x)
    assert result.dtype == "float16"
    np.testing.assert_allclose(result, wide, rtol=4e-3, atol=1e-3)


def test_equal_of_booleans() -> None:
    left, right = np.arange(33) % 2 == 0, np.arange(33) % 3 == 0
    np.testing.assert_array_equal(run_node("Equal", left, right)[0], left == right)


@pytest.mark.parametrize(
    ("op_type", "function"),
    [
        ("L1", np.abs),
        ("L2", np.abs),
        ("LogSum", np.log),
        ("LogSumExp", lambda x: x),
        ("SumSquare", np.square),
    ],
)
def test_reduction_over_no_axis(op_type: str, function) -> None:
    x = floats(2, 3, low=0.5, high=2)
    (result,) = run_node(f"Reduce{op_type}", x, opset=18, noop_with_empty_axes=1)
    np.testing.assert_allclose(result, function(x), rtol=1e-6)


def test_mean_of_integers() -> None:
    (result,) = run_node("ReduceMean", np.int32([[1, 2, 4], [-1, -2, -4]]), axes=[1])
    np.testing.assert_array_equal(result, np.int32([[2], [-2]]))


def test_largest_of_infinities() -> None:
    x = np.full((2, 33), -np.inf, np.float32)
    np.testing.assert_array_equal(run_node("ReduceMax", x, axes=[1])[0], [[-np.inf], [-np.inf]])


@pytest.mark.parametrize(("left", "right"), [((9,), (9,)), ((9,), (2, 9, 3)), ((2, 3, 9), (9,))])
def test_products_of_vectors(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = floats(*left), floats(*right, seed=1)
    for constants in ((), (1,)):
        (result,) = run_node("MatMul", a, b, constants=constants)
        np.testing.assert_allclose(result, a @ b, atol=1e-6)


def test_inverse_of_half_a_spectrum() -> None:
    signal = floats(2, 8)
    half = np.fft.rfft(signal)
    spectrum = np.stack([half.real, half.imag], -1).astype("float32")
    (result,) = run_node("DFT", spectrum, None, np.array(1), constants=(2,), opset=20, inverse=1, onesided=1)
    np.testing.assert_allclose(result[..., 0], signal, atol=1e-6)


def test_compress_of_data_by_a_constant() -> None:
    x = floats(3, 4)
    (result,) = run_node("Compress", x, np.array([True, False, True]), constants=(1,), axis=0)
    np.testing.assert_array_equal(result, x[[0, 2]])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_local_response_of_any_size(size: int) -> None:
    x = floats(1, 6, 2).astype("float64")
    padded = np.pad(x * x, ((0, 0), ((size - 1) // 2, size // 2), (0, 0)))
    total = sum(padded[:, at : at + 6] for at in range(size))
    (result,) = run_node("LRN", x.astype("float32"), size=size, alpha=0.5)
    np.testing.assert_allclose(result, x / (1 + 0.5 / size * total) ** 0.75, rtol=1e-5)


def test_five_outputs_of_batch_normalization() -> None:
    x, (scale, bias, mean), variance = floats(2, 3, 4), floats(3, 3), floats(3, low=0.5, high=2)
    results = run_node("BatchNormalization", x, scale, bias, mean, variance, opset=9, outputs=5)
    column = (slice(None), None)
    expected = (x - mean[column]) / np.sqrt(variance[column] + 1e-5) * scale[column] + bias[column]
    np.testing.assert_allclose(results[0], expected, rtol=1e-4, atol=1e-5)
    for result, wanted in zip(results[1:], (mean, variance, mean, variance), strict=True):
        np.testing.assert_array_equal(result, wanted)


def test_float16_scales() -> None:
    q = np.arange(-4, 4, dtype=np.int8)
    (result,) = run_node("DequantizeLinear", q, np.float16(0.5), constants=(1,), opset=19)
    assert result.dtype == "float16"
    np.testing.assert_array_equal(result, q * np.float16(0.5))
    (result,) = run_node("QuantizeLinear", result, np.float16(0.5), np.int8(0), constants=(1, 2), opset=19)
    np.testing.assert_array_equal(result, q)


@pytest.mark.parametrize(
    ("op_type", "inputs", "constants", "message"),
    [
        ("Compress", [floats(3), np.array([True])], (), "the shape of its result depends on its data"),
        ("TopK", [floats(3), np.array([4])], (1,), "k is 4, and the axis has 3 elements"),
        ("TopK", [floats(3), np.array([1])], (), "k is computed at run time; only constants are supported"),
        (
            "CumSum",
            [floats(3), np.array(0)],
            (),
            "its axis is computed at run time; only constants are supported",
        ),
        ("OneHot", [np.array([1]), np.array(3), floats(2)], (), "its depth is computed at run time"),
        ("DFT", [floats(1, 4, 1), np.array(4)], (), "dft_length is computed at run time"),
        ("Det", [floats(2, 3)], (), "its matrices are 2 x 3; a determinant needs square ones"),
        ("BitCast", [floats(3)], (), "float32 does not have as many bits as int8"),
        ("LpNormalization", [floats(3)], (), "p is 3; 1 and 2 are defined"),
        (
            "DeformConv",
            [floats(1, 1, 3), floats(1, 1, 1), floats(1, 2, 3)],
            (),
            "only convolutions in two dimensions",
        ),
    ],
)
def test_what_is_refused(op_type: str, inputs: list, constants: tuple[int, ...], message: str) -> None:
    attributes = {"BitCast": {"to": 3, "opset": 26}, "LpNormalization": {"p": 3}, "DeformConv": {"opset": 19}}
    model, _ = one_node(op_type, *inputs, constants=constants, **attributes.get(op_type, {}))
    with pytest.raises(TvmqError, match=rf"^ONNX node 'node' \({op_type}\) cannot be imported: {message}"):
        load_onnx(model)


def test_what_only_the_data_decide_is_refused() -> None:
    model, _ = one_node("NonZero", floats(3))
    with pytest.raises(
        TvmqError, match=r"^ONNX node 'node' \(NonZero\) gives a result whose shape depends on its data"
    ):
        load_onnx(model)


def test_what_depends_on_constants_is_folded() -> None:
    (result,) = run_node("NonZero", np.float32([[0, 1], [2, 0]]), constants=(0,))
    np.testing.assert_array_equal(result, [[0, 1], [1, 0]])
