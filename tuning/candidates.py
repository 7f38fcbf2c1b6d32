"""The candidates of one kernel: every way through its schedule rule, each drawn once.

The ways form a tree, and a drawn candidate is one of its leaves. At each choice on the way to it the branches not taken
are kept as open; the next candidate is a leaf below one of them. So none comes twice, and when nothing is open all have
been drawn: a small space is searched completely, a large one at random or near a good candidate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tvm import tirx
from tvm.s_tir import Schedule

from ..schedules.space import Choice, Decide

Rule = Callable[[Decide], Schedule]
"""Schedules the kernel afresh with the given choices."""


Expand = Callable[[tirx.PrimFunc], tirx.PrimFunc]
"""Writes the kernel of a scheduled function that is none yet."""


@dataclass(frozen=True)
class Candidate:
    """One schedule, the choices that led to it, and whether the analytic model makes the same.

    Attributes
    ----------
    expand : makes the kernel of the scheduled function; None where it is the kernel.
    """

    schedule: Schedule
    choices: Mapping[str, Any]
    is_default: bool = False
    expand: Expand | None = None

    @cached_property
    def function(self) -> tirx.PrimFunc:
        """The kernel."""
        func = self.schedule.mod["main"]
        return func if self.expand is None else self.expand(func)

    @cached_property
    def seen(self) -> Schedule:
        """What a cost model is to look at."""
        return self.schedule if self.expand is None else Schedule(self.function)

    @property
    def trace(self) -> str:
        """The schedule's trace as JSON text: equal for equal schedules, also those read from a record."""
        return trace_text(self.schedule.trace.as_json())


def trace_text(trace: Any) -> str:
    """Return a trace in the form in which two are compared."""
    return json.dumps(_plain(trace))


def _plain(value: Any) -> Any:
    """Return TVM's arrays as lists, and its numbers and strings as Python's."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tirx.IntImm | tirx.FloatImm):
        return value.value
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value]


class Candidates:
    """Draws candidates; the first is the one that the analytic model chooses.

    Parameters
    ----------
    expand : of each ``Candidate``.
    """

    def __init__(self, rule: Rule, rng: np.random.Generator, expand: Expand | None = None) -> None:
        self._rule = rule
        self._expand = expand
        self._rng = rng
        self._open: list[dict[str, Any]] = [{}]
        self._is_first = True

    def draw(self, near: Mapping[str, Any] | None = None) -> Candidate | None:
        """Return another candidate, None when all have been drawn.

        Parameters
        ----------
        near : choices that it should share as many of as possible, which the first does not; None draws at random.
        """
        if not self._open:
            return None
        prefix = self._open.pop(self._place(near))
        is_first, self._is_first = self._is_first, False
        walk = Walk(None, {}) if is_first else Walk(self._rng, {**(near or {}), **prefix})
        schedule = self._rule(walk)
        passed: dict[str, Any] = {}
        for name, candidates in walk.candidates.items():
            if name not in prefix:
                others = (other for other in candidates if other != walk.chosen[name])
                self._open.extend({**passed, name: other} for other in others)
            passed[name] = walk.chosen[name]
        return Candidate(schedule, walk.chosen, is_first, self._expand)

    def _place(self, near: Mapping[str, Any] | None) -> int:
        """Return the number of the open branch to go on with."""
        if near is None:
            return int(self._rng.integers(len(self._open)))
        order = self._rng.permutation(len(self._open))
        return int(min(order, key=lambda index: _differences(self._open[index], near)))


def _differences(prefix: Mapping[str, Any], choices: Mapping[str, Any]) -> int:
    return sum(choices.get(name) != choice for name, choice in prefix.items())


class Walk:
    """Chooses what it is told where that is possible; else at random, or without a generator as the analytic model.

    Attributes
    ----------
    chosen : the choices made, by name.
    candidates : what was possible at each.
    """

    def __init__(self, rng: np.random.Generator | None, told: Mapping[str, Any]) -> None:
        self._rng = rng
        self._told = told
        self.chosen: dict[str, Any] = {}
        self.candidates: dict[str, Sequence[Any]] = {}

    def __call__(self, name: str, candidates: Sequence[Choice]) -> Choice:
        choice = self._told.get(name)
        if choice not in candidates:
            choice = candidates[0 if self._rng is None else int(self._rng.integers(len(candidates)))]
        self.chosen[name] = choice
        self.candidates[name] = candidates
        return choice
