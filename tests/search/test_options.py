"""Budgets and choices of the search, as text and as options."""

from __future__ import annotations

import pytest

from tvmq.errors import TvmqError
from tvmq.search.options import BitBudget, SearchOptions, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4.0bits", 500), ("1.9MB", 1.9e6), ("900 kB", 9e5), ("2KiB", 2048), ("1e3B", 1000)],
)
def test_budgets_of_size(text, expected):
    assert BitBudget.parse(text).bytes(1000) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", "4", "4.0", "bits", "0bits", "-1MB", "1.9mb", "1..9MB", "nanMB", "4 bits each"]
)
def test_sizes_that_are_none(text):
    with pytest.raises(TvmqError, match="must be such as '4.0bits'"):
        SearchOptions(bit_budget=text)


@pytest.mark.parametrize(("text", "expected"), [("2.5ms", 2.5e-3), ("800us", 8e-4), ("1 s", 1.0)])
def test_budgets_of_time(text, expected):
    assert seconds(text) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("text", ["2.5", "0ms", "2.5MB", "fast"])
def test_times_that_are_none(text):
    with pytest.raises(TvmqError, match="must be such as '2.5ms'"):
        SearchOptions(latency_budget=text)


def test_candidates_are_sorted_and_those_with_kernels_by_default():
    assert SearchOptions(candidates=(8, 4, 4)).candidates == (4, 8)
    assert SearchOptions().candidates == SearchOptions(latency_budget="2ms").candidates == (2, 4, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bit_budget": "4bits", "min_cosine": 0.9}, "takes one budget, not bit_budget and min_cosine"),
        ({"latency_budget": "2ms", "metric": len}, "takes one budget, not latency_budget and metric"),
        ({"min_cosine": 1.0}, "must be between 0 and 1, got 1.0"),
        ({"candidates": ()}, r"must be numbers of bits from 2 to 8, got \(\)"),
        ({"candidates": (4, 9)}, r"must be numbers of bits from 2 to 8, got \(4, 9\)"),
        ({"samples": 0}, "samples of the search must be at least 1, got 0"),
        ({"trials": -1}, "trials of the search must be at least 0, got -1"),
        ({"max_drop": float("nan")}, "must be a number of at least 0, got nan"),
        ({"output": "found.json"}, "written as a .toml file, not to 'found.json'"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(TvmqError, match=message):
        SearchOptions(**options)
