from __future__ import annotations

import numpy as np
import pytest

from tvmq.passes.calibrate.nearness import cosine, counted, nearness


def test_cosines_of_what_has_no_direction():
    zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert (cosine(zero, zero), cosine(zero, one), cosine(one, one * np.nan)) == (1.0, 0.0, 0.0)
    assert cosine(one, 2 * one) == pytest.approx(1.0)


def test_a_small_output_is_not_drowned_by_a_large_one():
    large, small = 1000.0 * np.ones(4096, np.float32), np.array([1.0, 0.0], np.float32)
    turned = np.array([0.0, 1.0], np.float32)
    assert nearness([[large, small]], [[large, turned]]) == 0.0
    assert nearness([[large, small]], [[large, small]]) == pytest.approx(1.0)


def test_an_output_of_one_element_is_compared_over_all_samples():
    exact = [[np.float32(value).reshape(())] for value in (3.0, 4.0)]
    given = [[np.float32(value).reshape(())] for value in (4.0, 3.0)]
    assert nearness(exact, given) == pytest.approx(24 / 25)


def test_integers_count_where_there_are_no_floats():
    values, index = np.ones(2, np.float32), np.array([5, 6])
    assert counted([index, values]) == [1]
    assert nearness([[index, values]], [[index * 0, values]]) == pytest.approx(1.0)
    assert nearness([[index], [index]], [[np.array([5, 0])], [index]]) == 0.75
