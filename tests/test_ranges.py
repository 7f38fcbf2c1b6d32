"""Ranges of sizes as text, and shapes within them."""

from __future__ import annotations

import pytest

from tvmq.errors import TvmqError
from tvmq.ranges import Range, fits, greatest, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1..512", Range(1, 512)),
        (" 2 .. 4 ", Range(2, 4)),
        ("S=1..512", Range(1, 512, "S")),
        ("1..", None),
        ("7", None),
        ("a..b", None),
        ("1...4", None),
    ],
)
def test_text(text, expected):
    assert Range.parse(text) == expected


@pytest.mark.parametrize(("low", "high"), [(0, 4), (5, 4)])
def test_ranges_that_are_none(low, high):
    message = rf"the range {low}\.\.{high} of a dimension must go from 1 at least up to a size no smaller"
    with pytest.raises(TvmqError, match=message):
        Range(low, high)


def test_shapes():
    shape = (1, Range(2, 4), 7)
    assert str(Range(2, 4)) == "2..4" and 2 in Range(2, 4) and 5 not in Range(2, 4)
    assert fits((1, 2, 7), shape) and fits((1, 4, 7), shape)
    assert not fits((1, 5, 7), shape) and not fits((1, 2, 8), shape) and not fits((1, 2), shape)
    assert greatest(shape) == (1, 4, 7)
    assert shown(shape) == "[1, 2..4, 7]"
