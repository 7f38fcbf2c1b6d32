"""Pooling around odd extents, beside the standard's formulas; positions of maxima; what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ....differential import formulas
from ...nodes import floats, one_node, run_node


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_auto_pad(op_type: str, auto_pad: str) -> None:
    x, kernel, strides = floats(1, 2, 11, 8), (3, 2), (2, 3)
    same = formulas.same_pads(x.shape[2:], kernel, strides, (1, 1), auto_pad)
    expected = formulas.pooling(
        op_type, x, kernel, strides, (1, 1), [0] * 4 if auto_pad == "VALID" else same
    )[0]
    (result,) = run_node(op_type, x, kernel_shape=kernel, strides=strides, auto_pad=auto_pad)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("includes", [0, 1])
@pytest.mark.parametrize("extent", [5, 6, 7])
def test_ceil_mode(includes: int, extent: int) -> None:
    x, pads = floats(1, 1, extent, 4), [1, 0, 0, 1]
    how = {"kernel_shape": (3, 2), "strides": (2, 2), "pads": pads, "ceil_mode": 1}
    expected = formulas.pooling(
        "AveragePool", x, (3, 2), (2, 2), (1, 1), pads, ceil=True, includes=bool(includes)
    )[0]
    np.testing.assert_allclose(
        run_node("AveragePool", x, count_include_pad=includes, **how)[0], expected, rtol=1e-5
    )
    expected = formulas.pooling("MaxPool", x, (3, 2), (2, 2), (1, 1), pads, ceil=True)[0]
    np.testing.assert_array_equal(run_node("MaxPool", x, **how)[0], expected)


@pytest.mark.parametrize("shape", [(2, 3, 7), (1, 2, 5, 6), (1, 1, 4, 3, 5)])
def test_positions_of_maxima(shape: tuple[int, ...]) -> None:
    rank = len(shape) - 2
    x = np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape).astype("float32")
    kernel, strides, pads = (2,) * rank, (2,) * rank, [1] * rank + [0] * rank
    expected = formulas.pooling("MaxPool", x, kernel, strides, (1,) * rank, pads)
    results = run_node("MaxPool", x, outputs=2, kernel_shape=kernel, strides=strides, pads=pads)
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, wanted)


def test_positions_column_by_column() -> None:
    x = np.float32([[[[1, 2], [4, 3]]]])
    _, at = run_node("MaxPool", x, outputs=2, kernel_shape=(2, 2), storage_order=1)
    np.testing.assert_array_equal(at, [[[[1]]]])


@pytest.mark.parametrize("shape", [None, np.array([1, 1, 5, 5])])
def test_unpool(shape: np.ndarray | None) -> None:
    x, at = np.float32([[[[5, 6], [7, 8]]]]), np.array([[[[5, 7], [13, 15]]]])
    inputs = [x, at] if shape is None else [x, at, shape]
    (result,) = run_node("MaxUnpool", *inputs, constants=(2,), kernel_shape=(2, 2), strides=(2, 2))
    expected = np.zeros((1, 1, 4, 4), np.float32)
    expected.flat[at.ravel()] = x.ravel()
    np.testing.assert_array_equal(result[:, :, :4, :4], expected)
    assert result.shape == ((1, 1, 4, 4) if shape is None else (1, 1, 5, 5)) and result.sum() == x.sum()


def test_a_window_that_is_too_large_is_refused() -> None:
    with pytest.raises(TvmqError, match="a window of 5 is larger than the 4 that it slides over"):
        load_onnx(one_node("MaxPool", floats(1, 1, 4), kernel_shape=(5,))[0])
