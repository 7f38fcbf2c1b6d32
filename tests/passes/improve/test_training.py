"""The loss that sections learn by: relative at each place, and that it can be made small."""

from __future__ import annotations

import numpy as np

from tvmq.passes.improve.backward import Offset
from tvmq.passes.improve.training import FLOOR, _gradient, error_of


class _Shift:
    """Stands for a section: its result is its input and a constant."""

    def __init__(self, shift):
        self._rule = Offset(np.float32(shift))

    def forward(self, inputs):
        return [self._rule.forward(*inputs)]


def test_each_place_counts_by_its_relative_error():
    target = np.float32([[[[1, 1], [100, 100]]]])  # two places, of two channels
    gradient = _gradient(target + np.float32(0.5), target)
    squares = np.float32([1, 100**2])
    weights = 1 / (squares + FLOOR * squares.mean())
    expected = 0.5 * weights / (2 * (weights * squares).sum())
    np.testing.assert_allclose(gradient[0, 0], np.stack([expected, expected], axis=1), rtol=1e-5)
    assert gradient.dtype == np.float32


def test_the_loss_has_no_unit():
    target, result = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 5)).astype(np.float32)
    loss = np.vdot(_gradient(result, target), result - target)
    scaled = np.vdot(_gradient(7 * result, 7 * target), 7 * (result - target))
    np.testing.assert_allclose(scaled, loss, rtol=1e-5)


def test_targets_of_zero():
    zeros = np.zeros((1, 2, 2, 3), np.float32)
    np.testing.assert_array_equal(_gradient(zeros + 2, zeros), zeros + 2)


def test_the_error_over_records():
    rows = [np.float32([[3.0, 4.0]]), np.float32([[0.3, 0.4]])]
    records = [([row], [row], [row]) for row in rows]
    assert error_of(_Shift(0.0), records) == 0.0
    # 2 * 0.25 of 25 and of 0.25.
    np.testing.assert_allclose(error_of(_Shift(0.5), records), (0.5 / 25 + 0.5 / 0.25) / 2, rtol=1e-5)
