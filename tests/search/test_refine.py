"""From errors of single layers to mixtures that are measured."""

from __future__ import annotations

from itertools import product

import pytest

from tvmq.search.refine import least_cost, least_error, neighbours
from tvmq.search.solver import total

BITS = (2, 4, 8)
LAYERS = ("a", "b", "c", "d")
COSTS = {
    layer: {bits: float(bits * size) for bits in BITS}
    for layer, size in zip(LAYERS, (1, 2, 4, 8), strict=True)
}
ERRORS = {layer: {2: 0.16, 4: 0.01, 8: 0.0001} for layer in LAYERS}


class Measured:
    """An error that the single layers do not tell of: ``a`` and ``d`` with few bits make it worse together."""

    def __init__(self):
        self.seen: list[dict[str, int]] = []

    def __call__(self, assignment):
        if assignment not in self.seen:
            self.seen.append(dict(assignment))
        together = 0.5 * (assignment["a"] < 8) * (assignment["d"] < 8)
        return total(ERRORS, assignment) + together


def _all():
    return [dict(zip(LAYERS, bits, strict=True)) for bits in product(BITS, repeat=len(LAYERS))]


def test_neighbours_are_one_step_or_an_exchange():
    found = list(neighbours({"a": 4, "b": 8}, {"a": {2: 0, 4: 0, 8: 0}, "b": {2: 0, 4: 0, 8: 0}}))
    assert found == [{"a": 2, "b": 8}, {"a": 4, "b": 4}, {"a": 8, "b": 8}, {"a": 8, "b": 4}]


def test_measuring_finds_what_single_layers_do_not_tell():
    budget = 4.0 * 15
    measure = Measured()
    first = least_error(ERRORS, COSTS, budget, measure, trials=0)
    assert not measure.seen
    best = least_error(ERRORS, COSTS, budget, measure, trials=40)
    assert total(COSTS, best) <= budget
    assert measure(best) < measure(first)
    least = min(Measured()(each) for each in _all() if total(COSTS, each) <= budget)
    assert least <= measure(best) <= 1.1 * least


def test_what_was_measured_best_is_kept():
    measure = Measured()
    best = least_error(ERRORS, COSTS, 4.0 * 15, measure, trials=7)
    assert len(measure.seen) == 8
    assert measure(best) == min(map(measure, measure.seen))


def test_no_budget_is_no_assignment():
    assert least_error(ERRORS, COSTS, 1.9 * 15, Measured(), trials=5) is None


@pytest.mark.parametrize("bound", [0.0005, 0.02, 0.2, 0.6, 2.0])
def test_the_least_cost_that_holds(bound):
    measure = Measured()
    best = least_cost(ERRORS, COSTS, lambda each: measure(each) <= bound, trials=40)
    assert measure(best) <= bound
    least = min(total(COSTS, each) for each in _all() if Measured()(each) <= bound)
    assert total(COSTS, best) <= 1.1 * least


def test_nothing_that_holds():
    assert least_cost(ERRORS, COSTS, lambda each: False, trials=5) is None
