"""Weights that are not rounded to nearest, for the sums of their kernels."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.passes.weight_only.codebook import codebook
from tvmq.passes.weight_only.group import grouped
from tvmq.passes.weight_only.kernel_sums import to_switch

from ..modules import random


def switches(weights):
    """Return what becomes of a kernel ``[1, n]`` in integers."""
    wanted = np.array(weights, np.float32).reshape(1, 1, 1, -1)
    nearest = np.rint(wanted)
    other = np.where(wanted > nearest, np.ceil(wanted), np.floor(wanted))
    return np.where(to_switch(nearest, other, wanted), other, nearest).ravel().tolist()


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.3, 0.4, 1.2, 0.1], [0, 1, 1, 0]),  # the sum is 2, and the nearest to a half gives way
        ([0.4, 0.4, 0.4, 0.4, 0.45], [1, 0, 0, 0, 1]),
        ([-0.3, -0.4, -1.2, -0.1], [0, -1, -1, 0]),
        ([0.2, 0.2, 0.05], [0, 0, 0]),  # within a half: all to nearest
        ([0.4, -0.4, 2.0], [0, 0, 2]),
    ],
)
def test_the_nearest_to_a_half_change_sides(weights, expected):
    assert switches(weights) == expected


def test_integers_have_the_sums_of_their_kernels():
    weight = random(6, 5, 3, 3)
    found = grouped(weight, 0, 4, observer="minmax")
    errors = found.integers - weight / found.table
    assert np.abs(errors.sum(axis=(2, 3))).max() <= 0.5 + 1e-5
    assert np.abs(errors).max() < 1.0
    nearest = np.rint(weight / found.table)
    assert 0 < (found.integers != nearest).sum() < 0.2 * weight.size
    assert np.abs((nearest - weight / found.table).sum(axis=(2, 3))).max() > 1.0


def test_entries_of_a_codebook_too():
    weight = random(40, 1, 3, 3)
    found = codebook(weight, 0, 4, "depthwise")
    relative = (weight / found.scales).ravel()
    nearest = (
        found.table[np.abs(found.table - relative[:, None]).argmin(1)].reshape(weight.shape) * found.scales
    )
    error, of_nearest = (
        np.abs((values - weight).sum(axis=(2, 3))).mean() for values in (found.values(), nearest)
    )
    assert error < 0.5 * of_nearest


@pytest.mark.parametrize("shape", [(8, 16, 1, 1), (8, 16)])
def test_where_kernels_are_single_weights_all_are_rounded_to_nearest(shape):
    weight = random(*shape)
    found = grouped(weight, 0, 4, observer="minmax")
    np.testing.assert_array_equal(found.integers, np.rint(weight / found.table))


def test_integers_stay_in_their_range():
    """The sum would have the largest weight rounded up, past the last integer."""
    weight = np.float32([[[[7.0, 0.3, 0.3, 0.3, 0.3]]]])
    assert grouped(weight, 0, 4, observer="minmax").integers.tolist() == [[[[7, 1, 0, 0, 0]]]]
