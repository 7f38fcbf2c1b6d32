"""From what single layers do, by an integer linear program, to what mixtures of them do, by measuring them.

    least error within a budget of costs      the program's choice; then the neighbour that measures better, and so on
    least cost with a bound on the outputs    the programs' choices, the bound on the sum of errors by bisection; then
                                              the cheaper neighbour that keeps the bound, and so on

A neighbour has one layer a step up or down in its candidates, or one up and another down. Those are measured first that
the single layers' errors speak for, and the best that was measured is what is returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext

from ..passes.calibrate.watch import Progress
from .solver import Assignment, Choices, cheapest, fits, solve, total

BISECTIONS = 8
FLOOR = 1e-6
"""Of the largest sum of errors, the smallest that bisection looks at: it goes by ratios."""


def least_error(
    errors: Choices,
    costs: Choices,
    budget: float,
    measure: Callable[[Assignment], float],
    trials: int,
    progress: Progress | None = None,
) -> Assignment | None:
    """Return the assignment with the smallest measured error whose costs are within the budget; None for no such.

    Parameters
    ----------
    errors, costs : of each layer at each of its candidates.
    measure : returns the error of an assignment; asked for one again, it should remember.
    trials : how many neighbours are measured.
    """
    start = solve(errors, costs, budget)
    if start is None:
        return None
    return _climb(
        start,
        errors,
        trials,
        allowed=lambda best, other: fits(total(costs, other), budget),
        rank=lambda best, other: total(errors, other),
        better=lambda best, other: measure(other) < measure(best),
        progress=progress,
    )


def least_cost(
    errors: Choices,
    costs: Choices,
    holds: Callable[[Assignment], bool],
    trials: int,
    progress: Progress | None = None,
) -> Assignment | None:
    """Return the assignment of least cost that ``holds``; None where that with the smallest errors does not.

    Parameters
    ----------
    trials : how many neighbours are measured.
    """
    start = cheapest(errors)
    if not holds(start):
        return None

    def price(best: Assignment, other: Assignment) -> float:
        saved = total(costs, best) - total(costs, other)
        return (total(errors, other) - total(errors, best)) / saved

    return _climb(
        _bisected(start, errors, costs, holds, progress),
        errors,
        trials,
        allowed=lambda best, other: total(costs, other) < total(costs, best),
        rank=price,
        better=lambda best, other: holds(other),
        progress=progress,
    )


def neighbours(assignment: Assignment, choices: Choices) -> Iterator[Assignment]:
    """Yield what has one layer a step up or down in its candidates, or one up and another down."""
    steps: dict[int, list[tuple[str, int]]] = {-1: [], 1: []}
    for layer, bits in assignment.items():
        candidates = sorted(choices[layer])
        place = candidates.index(bits)
        for step, found in steps.items():
            if 0 <= place + step < len(candidates):
                found.append((layer, candidates[place + step]))
    for layer, bits in (*steps[-1], *steps[1]):
        yield {**assignment, layer: bits}
    for lower, fewer in steps[-1]:
        for higher, more in steps[1]:
            if lower != higher:
                yield {**assignment, lower: fewer, higher: more}


def _bisected(
    best: Assignment,
    errors: Choices,
    costs: Choices,
    holds: Callable[[Assignment], bool],
    progress: Progress | None,
) -> Assignment:
    """Return the choice of the program with the largest bound on the sum of errors that still ``holds``."""
    high = total(errors, cheapest(costs))
    low = max(total(errors, best), high * FLOOR)
    with nullcontext() if progress is None else progress("bound on errors", BISECTIONS) as bar:
        for _ in range(BISECTIONS):
            bound = math.sqrt(low * high)
            trial = solve(costs, errors, bound)
            if trial is not None and holds(trial):
                best, low = trial, bound
            else:
                high = bound
            if bar is not None:
                bar.update(1)
    return best


def _climb(
    best: Assignment,
    choices: Choices,
    trials: int,
    allowed: Callable[[Assignment, Assignment], bool],
    rank: Callable[[Assignment, Assignment], float],
    better: Callable[[Assignment, Assignment], bool],
    progress: Progress | None,
) -> Assignment:
    """Return the last of the assignments to which better neighbours lead; all three functions take best and other."""
    tried = [best]
    with nullcontext() if progress is None else progress("mixtures", trials) as bar:
        for done in range(trials):
            near = [
                other for other in neighbours(best, choices) if other not in tried and allowed(best, other)
            ]
            if not near:
                if bar is not None:
                    bar.update(trials - done)
                break
            trial = min(near, key=lambda other: rank(best, other))  # noqa: B023 (called at once)
            tried.append(trial)
            if better(best, trial):
                best = trial
            if bar is not None:
                bar.update(1)
    return best
