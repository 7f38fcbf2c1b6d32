"""Kernels against NumPy, with whole runs of values and without; ``test_backward`` has the convolutions."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.passes.improve.kernels import LANES, RUN, quantizer, sums_of

LOW, HIGH, SCALE = -7.0, 8.0, np.float32(0.7)


@pytest.mark.parametrize("size", [1, LANES, LANES + 1, RUN, RUN + LANES - 1, 3 * RUN + 5])
@pytest.mark.parametrize("drops", [False, True])
def test_a_quantizer_forwards_and_backwards(size, drops):
    rng = np.random.default_rng(size)
    data, gradient = (rng.normal(size=size, scale=9).astype(np.float32) for _ in range(2))
    random = rng.integers(0, 256, size).astype(np.uint8)
    inverse, dropped = np.float32(1) / SCALE, (random, 80) if drops else ()
    forward, backward = quantizer(drops)

    steps = data * inverse
    rounded = np.clip(np.rint(steps), LOW, HIGH)
    if drops:
        rounded = np.where(random < 80, steps, rounded)
    inside = np.abs(rounded - steps) <= 0.5

    result = np.full(size, np.nan, np.float32)
    forward(*dropped, data, result, float(inverse), float(SCALE), LOW, HIGH)
    np.testing.assert_array_equal(result, rounded * SCALE)

    of_data, sums = np.full(size, np.nan, np.float32), np.full(sums_of(size), np.nan, np.float32)
    backward(*dropped, data, gradient, of_data, sums, float(inverse), LOW, HIGH)
    np.testing.assert_array_equal(of_data, gradient * inside)
    expected = gradient.astype(np.float64) * np.where(inside, rounded - steps, rounded)
    np.testing.assert_allclose(sums.sum(dtype=np.float64), expected.sum(), atol=1e-5 * np.abs(expected).sum())


def test_arrays_that_cannot_be_written_to_or_have_gaps():
    data = np.arange(-20, 20, dtype=np.float32)[::2]
    data.setflags(write=False)
    result = np.empty(20, np.float32)
    quantizer(False)[0](data, result, 1.0, 1.0, LOW, HIGH)
    np.testing.assert_array_equal(result, np.clip(data, LOW, HIGH))


def test_half_a_step_goes_to_the_even_integer_and_huge_values_to_the_limit():
    data = np.float32([0.5, 1.5, 2.5, -0.5, 1e30, -1e30, np.inf, -np.inf])
    result = np.empty_like(data)
    quantizer(False)[0](data, result, 1.0, 1.0, LOW, HIGH)
    np.testing.assert_array_equal(result, np.float32([0, 2, 2, 0, 8, -7, 8, -7]))
