"""The design space of a schedule rule: the rule, and whoever makes its choices.

    decide(name, candidates)  -->  one of the candidates

A rule lists for each choice what is possible, what its analytic model likes best first. What is possible may depend on
choices made before, so that each way through the rule is a valid schedule: nothing has to be rejected later.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

Choice = TypeVar("Choice", bound=Hashable)


class Decide(Protocol):
    """Makes the choice ``name`` of a rule; ``candidates`` are distinct, the analytic model's own first."""

    def __call__(self, name: str, candidates: Sequence[Choice]) -> Choice: ...


def analytic(name: str, candidates: Sequence[Choice]) -> Choice:
    """Choose as the analytic model says: what compilation does without records."""
    return candidates[0]


class Explorer:
    """Chooses as it is told, and at random where that is not possible; remembers what was chosen.

    Attributes
    ----------
    chosen : the choices made, by name.
    candidates : what was possible at each of them.
    """

    def __init__(self, rng: np.random.Generator, told: Mapping[str, Any] | None = None) -> None:
        self._rng = rng
        self._told = told or {}
        self.chosen: dict[str, Any] = {}
        self.candidates: dict[str, Sequence[Any]] = {}

    def __call__(self, name: str, candidates: Sequence[Choice]) -> Choice:
        wanted = self._told.get(name)
        if wanted not in candidates:
            wanted = candidates[int(self._rng.integers(len(candidates)))]
        self.chosen[name] = wanted
        self.candidates[name] = candidates
        return wanted
