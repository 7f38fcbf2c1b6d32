"""Arrays in parts: all of them, once, in their order."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.passes.improve.parts import PART, in_parts


@pytest.mark.parametrize("shape", [(1,), (5, 3), (7, PART // 3), (3, 2 * PART), (PART + 1,), (2, 0)])
def test_every_row_once(shape):
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    result = np.zeros(shape, np.float32)

    def part(rows):
        assert data[rows].size <= PART or len(data[rows]) == 1
        result[rows] += data[rows] + 1
        return rows

    slices = in_parts(part, shape)
    np.testing.assert_array_equal(result, data + 1)
    assert [rows.start for rows in slices] == sorted(rows.start for rows in slices)


def test_errors_come_through():
    def part(rows):
        raise ValueError(f"at {rows.start}")

    with pytest.raises(ValueError, match="at 0"):
        in_parts(part, (4, PART))
