"""Scales and zero points: zero is exact, the range is covered, degenerate ranges give valid numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.passes.hub.parameters import (
    activation_parameters,
    quantize_weight,
    weight_limits,
    weight_parameters,
)


@pytest.mark.parametrize(
    ("low", "high", "dtype", "scale", "zero_point"),
    [
        (0.0, 255.0, "uint8", 1.0, 0),
        (-127.5, 127.5, "uint8", 1.0, 128),
        (-128.0, 127.0, "int8", 1.0, 0),
        (0.0, 6.0, "int8", 6 / 255, -128),
        (2.0, 255.0, "uint8", 1.0, 0),  # widened to hold zero
        (-255.0, -3.0, "uint8", 1.0, 255),
        (0.0, 0.0, "uint8", 1.0, 0),
        (-1.0, 1e-30, "uint8", 1 / 255, 255),
    ],
)
def test_asymmetric(low, high, dtype, scale, zero_point):
    assert activation_parameters(low, high, dtype, symmetric=False) == (np.float32(scale), zero_point)


@pytest.mark.parametrize(
    ("low", "high", "dtype", "scale", "zero_point"),
    [
        (-1.0, 2.0, "int8", 2 / 127, 0),
        (-1.0, 2.0, "uint8", 2 / 127, 128),
        (-3.0, 0.0, "uint8", 3 / 127, 128),
        (0.0, 0.0, "int8", 1.0, 0),
    ],
)
def test_symmetric(low, high, dtype, scale, zero_point):
    assert activation_parameters(low, high, dtype, symmetric=True) == (np.float32(scale), zero_point)


def test_scales_are_never_subnormal():
    scale, _ = activation_parameters(0.0, 1e-44, "uint8", symmetric=False)
    assert scale == np.finfo(np.float32).tiny and scale.dtype == np.float32


def test_weights():
    weight = np.array([[[-2.0, 1.0], [0.0, 0.5]], [[0.0, 0.0], [0.0, 0.0]]], "float32")
    scale = weight_parameters(np.abs(weight).max(axis=(1, 2)))
    assert scale.dtype == np.float32
    np.testing.assert_array_equal(scale, np.array([2 / 127, 1.0], "float32"))
    expected = [[[-127, 64], [0, 32]], [[0, 0], [0, 0]]]  # 63.5 and 31.75; halves go to even
    assert quantize_weight(weight, scale, 0).tolist() == expected


def test_weights_are_clipped_on_both_sides_alike():
    weight = np.array([[-9.0, 9.0]], "float32")
    assert quantize_weight(weight, np.array([0.01], "float32"), 0).tolist() == [[-127, 127]]


def test_few_bits_have_all_their_integers():
    weight = np.array([[-9.0, -1.0, 9.0]], "float32")
    assert quantize_weight(weight, np.array([1.0], "float32"), 0, (-8, 7)).tolist() == [[-8, -1, 7]]
    assert weight_limits(4) == (-8, 7) and weight_limits(8) == (-127, 127)
    assert weight_limits(2) == (-2, 1) and weight_limits(2, narrow_range=True) == (-1, 1)


def test_one_scale_and_another_axis():
    weight = np.array([[1.0, 10.0], [2.0, 20.0]], "float32")
    scale = weight_parameters(np.array([2.0, 20.0]))
    assert quantize_weight(weight, scale, 1).tolist() == [[64, 64], [127, 127]]
    assert quantize_weight(weight, np.array([20 / 127], "float32"), 1).tolist() == [[6, 64], [13, 127]]
