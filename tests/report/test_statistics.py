"""Streaming figures against NumPy over all values at once."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.report.statistics import SQNR_LIMIT, ChannelRange, Difference, Distribution

BATCHES = np.random.default_rng(0).normal(0.5, 2.0, (5, 2, 3, 16, 16)).astype(np.float32)


def distribution(batches, low=-np.inf, high=np.inf) -> Distribution:
    found = Distribution(low, high)
    for batch in batches:
        found.update(batch)
    return found


def test_distribution():
    found = distribution(np.maximum(BATCHES, 0), -1.0, 3.0)
    values = np.maximum(BATCHES, 0).astype(np.float64)
    assert (found.min, found.max) == (0.0, values.max())
    # Sums of squares are of float32, in blocks: see statistics.dot.
    assert found.mean == pytest.approx(values.mean(), rel=1e-6)
    assert found.variance == pytest.approx(values.var(), rel=1e-5)
    assert found.sparsity == np.mean(values == 0)
    assert found.clip_rate == np.mean(values > 3.0)


def test_quartiles_to_a_bin():
    found = distribution(BATCHES)
    exact = np.percentile(BATCHES, (25, 50, 75))
    np.testing.assert_allclose(found.quartiles(), exact, atol=2 * found.histogram.width)


def test_quartiles_of_a_rectified_tensor_are_zero():
    assert distribution(np.maximum(BATCHES - 2.0, 0)).quartiles()[:2] == (0.0, 0.0)


def test_a_constant_tensor():
    zero = distribution(np.zeros((2, 4), np.float32))
    assert (zero.mean, zero.variance, zero.sparsity, zero.quartiles()) == (0.0, 0.0, 1.0, (0.0, 0.0, 0.0))
    assert distribution(np.full((2, 4), 3.0, np.float32)).quartiles() == (3.0, 3.0, 3.0)


def test_difference():
    found = Difference(1)
    errors = np.random.default_rng(1).normal(0.0, 0.01, BATCHES.shape).astype(np.float32)
    copies = BATCHES + errors
    for exact, copy in zip(BATCHES, copies, strict=True):
        found.update(exact, copy)
    x, y = BATCHES.astype(np.float64), copies.astype(np.float64)
    assert found.sqnr == pytest.approx(10 * np.log10((x**2).sum() / ((y - x) ** 2).sum()), abs=1e-3)
    assert found.cosine == pytest.approx((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()), abs=1e-6)
    assert found.max_error == np.abs(copies - BATCHES).max()
    assert found.bias_share < 0.01


def test_an_offset_by_channel_is_all_bias():
    found = Difference(1)
    offset = np.array([0.5, -0.25, 1.0], np.float32).reshape(1, 3, 1, 1)
    for exact in np.rint(BATCHES):
        found.update(exact, exact + offset)
    assert found.bias_share == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("exact", "copy", "sqnr", "cosine"),
    [(1.0, 1.0, SQNR_LIMIT, 1.0), (0.0, 0.0, SQNR_LIMIT, 1.0), (0.0, 1.0, -SQNR_LIMIT, 0.0)],
)
def test_difference_of_constants(exact, copy, sqnr, cosine):
    found = Difference()
    found.update(np.full((1, 4), exact, np.float32), np.full((1, 4), copy, np.float32))
    assert (found.sqnr, found.cosine) == (sqnr, pytest.approx(cosine))


def test_channels():
    found = ChannelRange(1)
    assert (found.largest, found.spread) == (0.0, 1.0)
    found.update(np.array([[[1.0], [-2.0], [0.0], [16.0]]], np.float32))
    found.update(np.array([[[-1.5], [0.0], [0.0], [1.0]]], np.float32))
    assert list(found.magnitudes) == [1.5, 2.0, 0.0, 16.0]
    assert found.largest == 16.0
    assert found.spread == 8.0
