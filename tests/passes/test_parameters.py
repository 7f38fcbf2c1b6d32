"""Scales and zero points: zero is exact, the range is covered, degenerate ranges give valid numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.passes.parameters import (
    activation_parameters,
    by_output_channel,
    largest_pairs,
    limit_pairs,
    quantize_weight,
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


def test_one_scale_and_another_axis():
    weight = np.array([[1.0, 10.0], [2.0, 20.0]], "float32")
    scale = weight_parameters(np.array([2.0, 20.0]))
    assert quantize_weight(weight, scale, 1).tolist() == [[64, 64], [127, 127]]
    assert quantize_weight(weight, np.array([20 / 127], "float32"), 1).tolist() == [[6, 64], [13, 127]]


@pytest.mark.parametrize(
    ("shape", "axis"), [((6, 8, 3, 3), 0), ((6, 7, 1, 1), 0), ((9, 5), 1), ((12, 1, 3, 3), 0)]
)
@pytest.mark.parametrize("per_channel", [True, False])
def test_pairs_keep_within_the_limit(shape, axis, per_channel):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal(shape).astype(np.float32)
    channels = np.moveaxis(weight, axis, 0).reshape(shape[axis], -1)
    channels[0] = np.abs(channels[0]) + 3  # each pair of this channel is beyond the limit
    weight = np.ascontiguousarray(
        np.moveaxis(channels.reshape(np.moveaxis(weight, axis, 0).shape), 0, axis), np.float32
    )
    largest = np.abs(channels).max(axis=1) if per_channel else np.abs(channels).max(keepdims=True).reshape(1)
    scale = weight_parameters(largest)
    integers, enlarged = limit_pairs(weight, scale, axis, 128)
    assert largest_pairs(by_output_channel(integers, axis)).max() <= 128
    assert np.all(enlarged >= scale)
    step = enlarged.reshape([-1 if i == axis and per_channel else 1 for i in range(weight.ndim)])
    # Rounding alone, or clipping by less than a step at the end of the range.
    assert np.all(np.abs(integers * step - weight) <= 0.5001 * step)
    # Twice the scale always fits, so no channel loses more than a bit.
    assert np.all(enlarged <= 2.01 * scale)


def test_channels_within_the_limit_keep_their_scale():
    weight = np.array([[127.0, 1.0], [127.0, -127.0], [127.0, 127.0]], np.float32)[:, :, None, None]
    integers, scale = limit_pairs(weight, np.ones(3, np.float32), 0, 128)
    np.testing.assert_array_equal(scale[:2], 1.0)
    np.testing.assert_array_equal(integers[:2, :, 0, 0], [[127, 1], [127, -127]])
    assert 64 * scale[2] == pytest.approx(127, rel=0.01)


def test_an_odd_last_channel_meets_zero():
    np.testing.assert_array_equal(largest_pairs(np.array([[[100], [-90], [127]]], np.int8)), [127])
    np.testing.assert_array_equal(largest_pairs(np.array([[[-128], [-127], [3]]], np.int8)), [255])
