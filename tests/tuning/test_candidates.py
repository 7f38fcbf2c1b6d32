"""Candidates: each once, the analytic model's first, all of them in the end; near ones first where asked."""

from __future__ import annotations

import numpy as np

from tvmq.schedules.space import analytic
from tvmq.tuning.candidates import Candidates


def rule(decide):
    """Return the choices themselves in place of a schedule; what ``inner`` may be depends on ``outer``."""
    outer = decide("outer", (4, 1, 2))
    inner = decide("inner", tuple(range(outer)))
    if inner == 3:
        return outer, inner, decide("last", ("a", "b"))
    return outer, inner


def drawn(near=None):
    candidates = Candidates(rule, np.random.default_rng(0))
    while (candidate := candidates.draw(near)) is not None:
        yield candidate


def test_each_way_through_the_rule_is_drawn_once():
    found = [candidate.schedule for candidate in drawn()]
    ways = [(1, 0), (2, 0), (2, 1), (4, 0), (4, 1), (4, 2), (4, 3, "a"), (4, 3, "b")]
    assert sorted(found, key=str) == sorted(ways, key=str)


def test_the_first_is_the_analytic_models():
    first, *others = drawn()
    assert first.schedule == rule(analytic) == (4, 0)
    assert first.is_default and not any(candidate.is_default for candidate in others)


def test_a_near_candidate_comes_before_others():
    near = {"outer": 4, "inner": 3, "last": "b"}
    first, second, *_ = (candidate.schedule for candidate in drawn(near))
    assert (first, second) == ((4, 0), (4, 3, "b"))


def test_choices_are_kept_by_name():
    assert {"outer": 4, "inner": 3, "last": "b"} in [candidate.choices for candidate in drawn()]
