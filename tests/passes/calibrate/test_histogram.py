"""Counts are exact whatever the order in which larger values come."""

from __future__ import annotations

import numpy as np

from tvmq.passes.calibrate.histogram import BINS, MAX_SAMPLES, Histogram


def _reference(values: np.ndarray, width: float) -> np.ndarray:
    places = np.floor(values / width).astype(int) + BINS
    return np.bincount(np.clip(places, 0, 2 * BINS - 1), minlength=2 * BINS)


def test_growing_loses_no_counts():
    # The first width is 1/8, the others powers of two, the values multiples of 1/8: every division is exact.
    rng = np.random.default_rng(0)
    limits = (BINS - 1, 3 * BINS, 50 * BINS)
    parts = [rng.integers(-limit, limit, 5000, endpoint=True) / 8 for limit in limits]
    parts = [np.append(part, limit / 8).astype("float32") for part, limit in zip(parts, limits, strict=True)]
    histogram = Histogram()
    for part in parts:
        histogram.update(part)
    everything = np.concatenate(parts)
    assert histogram.width == 64 / 8
    np.testing.assert_array_equal(histogram.counts, _reference(everything, histogram.width))
    assert (histogram.low, histogram.high) == (everything.min(), 50 * BINS / 8)


def test_the_largest_magnitude_lies_beyond_the_middle():
    histogram = Histogram()
    for value in (0.001, -3.0, 5.0):
        histogram.update(np.array([value], "float32"))
    assert histogram.width * BINS / 2 <= 5.0 < histogram.width * BINS
    assert histogram.counts.sum() == 3


def test_zeros_before_anything_else():
    histogram = Histogram()
    histogram.update(np.zeros((2, 5), "float32"))
    assert histogram.width == 0.0
    histogram.update(np.array([-1.0], "float32"))
    assert histogram.counts[BINS] == 10 and histogram.counts[1] == 1


def test_an_empty_array():
    histogram = Histogram()
    histogram.update(np.zeros((0, 3), "float32"))
    assert histogram.counts.sum() == 0


def test_large_arrays_are_sampled_but_their_ends_are_exact():
    values = np.zeros(5 * MAX_SAMPLES, "float32")
    values[1] = 7.0  # not among every 5th
    values[::5] = 1.0
    histogram = Histogram()
    histogram.update(values)
    assert histogram.high == 7.0
    assert histogram.counts.sum() == MAX_SAMPLES
    assert histogram.counts[BINS + int(1.0 / histogram.width)] == MAX_SAMPLES


def test_memory_is_constant():
    histogram = Histogram()
    for exponent in range(-30, 30):
        histogram.update(np.array([10.0**exponent], "float32"))
    assert histogram.counts.shape == (2 * BINS,) and histogram.counts.sum() == 60


def test_values_too_small_for_a_bin_count_as_zeros():
    histogram = Histogram()
    histogram.update(np.array([0.0, 1e-42, -1e-42], np.float32))
    assert histogram.counts[BINS] == histogram.counts.sum() == 3
