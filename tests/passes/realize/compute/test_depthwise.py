"""Depthwise convolution equals the NumPy reference, tap by tap and by groups of rows that lie side by side."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tvmq.passes.hub import arithmetic, packing
from tvmq.passes.hub.arithmetic import Output
from tvmq.passes.realize.compute import depthwise
from tvmq.passes.realize.compute.contraction import Conv2d
from tvmq.passes.realize.compute.depthwise import NarrowSums, RowGroups
from tvmq.passes.realize.compute.epilogue import Conversion, Requantize

from .conftest import in_turn

OUT = Output("uint8", 128, 0, 255)

# height, width, channels, kernel, stride, padding, dilation
CASES = [
    (7, 7, 16, (3, 3), 1, (1, 1, 1, 1), 1),
    (9, 13, 17, (3, 3), 2, (1, 1, 1, 1), 1),
    (8, 9, 31, (5, 5), 2, (2, 2, 2, 2), 1),
    (11, 9, 31, (5, 5), 1, (2, 2, 2, 2), 1),
    (12, 10, 33, (3, 3), 1, (2, 2, 2, 2), 2),
    (5, 4, 8, (3, 3), 1, (0, 0, 0, 0), 1),
    (10, 1, 3, (10, 1), 1, (0, 0, 0, 0), 1),
    (6, 14, 5, (3, 3), 2, (0, 0, 1, 1), 1),
    (3, 40, 70, (2, 7), 1, (1, 3, 0, 3), 1),
]


def requantized(row):
    return Requantize(OUT, Conversion(row.converts_by))


def _problem(dtype, height, width, channels, kernel, stride, padding, dilation, share=1):
    """Return geometry, data, weight, offset, multiplier and the expected result."""
    rng = np.random.default_rng(0)
    low, high = arithmetic.bounds_of(dtype)
    geometry = Conv2d((stride, stride), padding, (dilation, dilation), channels, kernel, channels, low + 200)
    data = rng.integers(low, high + 1, (2, height, width, channels)).astype(dtype)
    weight = rng.integers(-(127 // share), 127 // share + 1, (channels, 1, *kernel)).astype(np.int8)
    offset = rng.integers(-30000, 30000, channels).astype(np.int32)
    multiplier = rng.uniform(0.0005, 0.003, channels).astype(np.float32)
    accumulator = offset + arithmetic.conv2d_accumulator(
        data, weight, geometry.strides, padding, geometry.dilation, channels, geometry.pad_value
    )
    return geometry, data, weight, offset, multiplier, arithmetic.requantize(accumulator, multiplier, OUT)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_tap_by_tap(run_kernel, row, case):
    geometry, data, weight, offset, multiplier, expected = _problem(row.activation_dtype, *case)
    lanes = row.dots[-1].lanes
    per_channel = [packing.pack_channels(array, 1, lanes) for array in (offset, multiplier)]
    define = partial(depthwise.depthwise_conv2d, geometry=geometry, epilogue=requantized(row))
    result = run_kernel(define, [data, depthwise.pack_depthwise(weight, lanes), *per_channel])
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("share", [1, 5])
def test_sums_of_several_taps(run_kernel, row, case, share):
    """Weights of all magnitudes add two products at a time, and small ones more."""
    narrow = row.narrow_taps
    if narrow is None:
        pytest.skip(f"{row.name} has none")
    geometry, data, weight, offset, multiplier, expected = _problem(row.activation_dtype, *case, share=share)
    sums = NarrowSums.of(weight, arithmetic.bounds_of(row.activation_dtype), narrow.dtype)
    assert sums.taps >= 2 * share or sums.taps == weight[0].size
    per_channel = [packing.pack_channels(array, 1, narrow.lanes) for array in (offset, multiplier)]
    define = partial(
        depthwise.depthwise_conv2d,
        geometry=geometry,
        narrow=sums,
        epilogue=requantized(row),
    )
    result = run_kernel(define, [data, depthwise.pack_depthwise(weight, narrow.lanes), *per_channel])
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("weights", "bounds", "taps"),
    [
        ([127, 127, 127], (-128, 127), 2),
        ([127, -127, 127, -127], (-128, 127), 2),
        ([127, 127, 2, 2], (-128, 127), 2),
        ([85, 85, 85, 0], (-128, 127), 4),
        ([85, 85, 86, 0], (-128, 127), 2),
        ([127, -127, 127, -127], (0, 255), 2),
        ([127, 127, 127, 127], (0, 64), 4),
        ([127, 127], (0, 255), 1),
    ],
)
def test_as_many_taps_as_their_sum_allows(weights, bounds, taps):
    weight = np.array(weights, np.int8).reshape(1, 1, 1, -1)
    assert NarrowSums.of(weight, bounds, "int16") == NarrowSums(taps, "int16")


@pytest.mark.parametrize(
    ("case", "threads"), in_turn([case for case in CASES if case[-1] == 1], [1, 3]), ids=str
)
def test_by_row_groups(run_kernel, row, case, threads):
    dot = row.lane_dot
    if dot is None:
        pytest.skip(f"{row.name} has no dot product within lanes")
    geometry, data, weight, offset, multiplier, expected = _problem(row.activation_dtype, *case)
    groups = RowGroups.of(geometry.kernel[0], geometry.strides[0], dot.depth)
    packed = depthwise.pack_row_groups(weight, geometry.strides[0], groups, dot.lanes)
    per_channel = [packing.pack_channels(array, 1, dot.lanes) for array in (offset, multiplier)]
    define = partial(
        depthwise.depthwise_by_row_groups,
        geometry=geometry,
        data_dtype=dot.data_dtype,
        epilogue=requantized(row),
    )
    result = run_kernel(define, [data, packed, *per_channel], threads)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("kernel", "stride", "depth", "rows", "steps"),
    [(3, 1, 4, 2, 1), (3, 1, 2, 2, 2), (3, 2, 4, 1, 1), (5, 1, 4, 4, 2), (5, 1, 2, 2, 3), (7, 1, 4, 2, 2)],
)
def test_output_rows_share_a_group_where_it_costs_nothing(kernel, stride, depth, rows, steps):
    assert RowGroups.of(kernel, stride, depth) == RowGroups(rows, steps, depth)


def test_weights_of_rows_that_share_a_group_are_shifted():
    weight = np.arange(1, 4, dtype=np.int8).reshape(1, 1, 3, 1)
    packed = depthwise.pack_row_groups(weight, 1, RowGroups.of(3, 1, 4), 2)
    assert packed.shape == (2, 1, 1, 1, 2, 4)
    np.testing.assert_array_equal(packed[:, 0, 0, 0, 0], [[1, 2, 3, 0], [0, 1, 2, 3]])
    assert not packed[:, 0, 0, 0, 1].any()
