"""Transposed and deformed convolutions; Conv itself is in test_table, and in ONNX's node tests."""

from __future__ import annotations

import numpy as np
import pytest

from ....differential import formulas
from ...nodes import floats, run_node


@pytest.mark.parametrize("mode", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("constant", [True, False])
def test_output_shape(mode: str, constant: bool) -> None:
    x, w, b = floats(1, 4, 8, 7), floats(4, 3, 3, 3, seed=1), floats(3, seed=2)
    surplus = np.array([17, 15]) - (16, 14)
    begins = surplus // 2 if mode == "SAME_UPPER" else surplus - surplus // 2
    pads = [*begins, *(surplus - begins)]
    expected = formulas.transposed_convolution(x, w, b, (2, 2), (1, 1), pads, (0, 0), 1)
    how = {"output_shape": [16, 14]} if mode == "NOTSET" else {"auto_pad": mode}
    (result,) = run_node(
        "ConvTranspose", x, w, b, constants=(1, 2) if constant else (), strides=[2, 2], **how
    )
    np.testing.assert_allclose(result, expected, atol=36 * 2.0**-22)


def test_an_output_that_is_larger_than_the_natural_one_ends_in_zeros() -> None:
    x, w, b = floats(1, 1, 2, 2), floats(1, 1, 2, 2, seed=1), np.float32([0.5])
    (result,) = run_node("ConvTranspose", x, w, b, strides=[2, 2], output_shape=[5, 4])
    assert result.shape == (1, 1, 5, 4)
    np.testing.assert_array_equal(result[:, :, 4], 0.5)


def test_deformed_convolution_without_offsets_is_a_convolution() -> None:
    x, w, b = floats(2, 4, 6, 5), floats(6, 2, 3, 2, seed=1), floats(6, seed=2)
    pads, strides, dilations = [1, 0, 1, 1], (2, 1), (1, 2)
    expected = formulas.convolution(x, w, b, strides, dilations, pads, 2)
    offset = np.zeros((2, 2 * 2 * 6, *expected.shape[2:]), np.float32)
    mask = np.full((2, 2 * 6, *expected.shape[2:]), 0.5, np.float32)
    how = {
        "pads": pads,
        "strides": strides,
        "dilations": dilations,
        "group": 2,
        "offset_group": 2,
        "opset": 19,
    }
    (result,) = run_node("DeformConv", x, w, offset, b, **how)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    (result,) = run_node("DeformConv", x, w, offset, b, mask, **how)
    np.testing.assert_allclose(result, (expected + b[:, None, None]) / 2, atol=1e-5)
