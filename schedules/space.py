"""The design space of a schedule rule: the rule, and whoever makes its choices.

    decide(name, candidates)  -->  one of the candidates

A rule lists for each choice what is possible, what its analytic model likes best first. What is possible may depend on
choices made before, so that each way through the rule is a valid schedule: nothing has to be rejected later.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol, TypeVar

Choice = TypeVar("Choice", bound=Hashable)


class Decide(Protocol):
    """Makes the choice ``name`` of a rule; ``candidates`` are distinct, the analytic model's own first."""

    def __call__(self, name: str, candidates: Sequence[Choice]) -> Choice: ...


def analytic(name: str, candidates: Sequence[Choice]) -> Choice:
    """Choose as the analytic model says: what compilation does without records."""
    return candidates[0]
