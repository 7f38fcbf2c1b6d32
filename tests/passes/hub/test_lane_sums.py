"""Sums of weights that meet in a lane: which they are, how large they get, and scales that keep them small."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.lane_sums import _within, fitted_to, is_merged, largest_sums, limit_sums, runs_of
from tvmq.passes.hub.parameters import weight_parameters
from tvmq.targets.row import LaneSums

from ..modules import calls, const, module


def test_runs_are_in_the_order_of_memory():
    weight = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)  # OIHW
    np.testing.assert_array_equal(runs_of(weight, 0)[0], [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]])
    merged = runs_of(weight, 0, merged=True)[0]
    np.testing.assert_array_equal(merged, [[0, 4, 8, 1, 5, 9], [2, 6, 10, 3, 7, 11]])
    matrix = np.arange(6).reshape(3, 2)  # [K, N]
    np.testing.assert_array_equal(runs_of(matrix, 1), [[[0, 2, 4]], [[1, 3, 5]]])


@pytest.mark.parametrize(
    ("channels", "groups", "dilation", "merged"),
    [(3, 1, 1, True), (3, 1, 2, False), (8, 1, 1, False), (6, 2, 1, False)],
)
def test_columns_that_a_kernel_merges(channels, groups, dilation, merged):
    def body(b, x):
        weight = const(4, channels // groups, 3, 3)
        return b.add(relax.op.nn.conv2d(x, weight, groups=groups, dilation=dilation))

    call = calls(module({"x": (1, channels, 9, 9)}, body), "nn.conv2d")[0]
    assert is_merged(call, np.zeros((4, channels // groups, 3, 3))) is merged


def test_pairs_and_their_signs():
    def largest(*run, steps=1):
        return largest_sums(np.array([[run]], np.int8), LaneSums(128, steps=steps))[0]

    assert largest(100, -90, 127) == 127  # an odd last number meets zero
    assert largest(-128, -127, 3) == 255
    assert largest(1, 2, 30, 40) == 70
    # Of two groups, the first pairs meet, and the second pairs do.
    assert largest(1, 2, 30, 40, 5, 6, 7, 8, steps=2) == 30 + 40 + 7 + 8
    assert largest(50, -60, 0, 0, 70, -80, 0, 0, steps=2) == 140


@pytest.mark.parametrize(
    ("numbers", "steps", "taken"), [(8, 2, 2), (5, 2, 2), (12, 2, 1), (13, 4, 4), (24, 4, 2)]
)
def test_whole_multiples_of_the_steps(numbers, steps, taken):
    sums = LaneSums(128, steps=steps)
    assert fitted_to(np.zeros((1, 1, numbers)), sums) == LaneSums(128, steps=taken)


def test_sums_of_neon():
    run = np.array([[[1, 20, 3, 40, 5, 60, 7, 80, 100]]], np.int8)
    assert largest_sums(run[..., :8], LaneSums(128, 2, 2, 4)) == 20 + 40 + 60 + 80
    assert largest_sums(run[..., [0, 2, 4, 6, 8]], LaneSums(128, 2, 2, 1)) == 100


@pytest.mark.parametrize(
    ("shape", "axis", "merged"),
    [
        ((6, 8, 3, 3), 0, False),
        ((6, 7, 1, 1), 0, False),
        ((9, 5), 1, False),
        ((12, 1, 3, 3), 0, False),
        ((5, 3, 3, 3), 0, True),
    ],
)
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("neon", [False, True])
@pytest.mark.parametrize("per_channel", [True, False])
def test_sums_keep_within_the_limit(shape, axis, merged, steps, neon, per_channel):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal(shape).astype(np.float32)
    channels = np.moveaxis(weight, axis, 0).reshape(shape[axis], -1)
    channels[0] = np.abs(channels[0]) + 3  # each sum of this channel is beyond the limit
    weight = np.ascontiguousarray(
        np.moveaxis(channels.reshape(np.moveaxis(weight, axis, 0).shape), 0, axis), np.float32
    )
    largest = np.abs(channels).max(axis=1) if per_channel else np.abs(channels).max(keepdims=True).reshape(1)
    scale = weight_parameters(largest)
    sums = LaneSums(128, 2, 2, 2 * steps) if neon else LaneSums(128, steps=steps)
    integers, enlarged = limit_sums(weight, scale, axis, sums, merged)
    runs = runs_of(integers, axis, merged)
    assert largest_sums(runs, fitted_to(runs, sums)).max() <= 128
    assert np.all(enlarged >= scale)
    # As many times the scale as weights meet always fits, so no channel loses more than a bit for each doubling.
    assert np.all(enlarged <= 2.01 * steps * scale)
    step = enlarged.reshape([-1 if i == axis and per_channel else 1 for i in range(weight.ndim)])
    # A channel of many large sums is rounded in larger steps; hardly one of its weights is cut.
    cut = np.abs(integers * step - weight) > 0.5001 * step
    assert cut.mean() < 0.1


def test_channels_within_the_limit_keep_their_scale():
    weight = np.array([[127.0, 1.0], [127.0, -127.0], [127.0, 127.0]], np.float32)[:, :, None, None]
    integers, scale = limit_sums(weight, np.ones(3, np.float32), 0, LaneSums(128))
    np.testing.assert_array_equal(scale[:2], 1.0)
    np.testing.assert_array_equal(integers[:2, :, 0, 0], [[127, 1], [127, -127]])
    assert 64 * scale[2] == pytest.approx(127, rel=0.01)


def test_one_lane_beyond_the_limit_is_cut_and_the_others_keep_their_resolution():
    weight = np.random.default_rng(0).uniform(-60, 60, (2, 40000)).astype(np.float32)
    weight[:, :4] = [127.0, 5.0, -120.0, -8.5]
    weight[1, 1] = 127.0
    integers, scale = limit_sums(weight[:, :, None, None], np.ones(2, np.float32), 0, LaneSums(128))
    assert scale[0] == 1.0
    # 127 + 5 - 128 = 4: each gives 2.
    np.testing.assert_array_equal(integers[0, :4, 0, 0], [125, 3, -120, -8])
    np.testing.assert_array_equal(integers[0, 4:, 0, 0], np.rint(weight[0, 4:]))
    # Half of 127 is too much to cut.
    assert 1.2 < scale[1] < 1.98


@pytest.mark.parametrize(
    ("values", "nearest"),
    [
        ([100.0, 60.0], [84, 44]),
        ([128.4, 0.4], [128, 0]),
        ([127.0, 3.0, 1.0, 0.0], [126, 2, 0, 0]),
        ([64.5, 64.5, 0.0, 0.0], [64, 64, 0, 0]),
    ],
)
def test_sums_by_smaller_weights(values, nearest):
    np.testing.assert_array_equal(_within(np.array([values]), 128), [nearest])


def test_few_bits_use_their_smallest_integer():
    weight = np.float32([[-8, -8, 1, 7], [-8, 0, 0, 7]])[:, :, None, None]
    integers, scale = limit_sums(weight, np.ones(2, np.float32), 0, LaneSums(8), limits=(-8, 7))
    assert largest_sums(runs_of(integers, 0), LaneSums(8)).max() <= 8
    assert scale[0] > 1.0 == scale[1]
    assert integers[1, :, 0, 0].tolist() == [-8, 0, 0, 7]
