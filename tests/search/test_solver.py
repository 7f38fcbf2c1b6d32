"""The integer linear program: against all assignments of small problems."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tvmq.search.solver import cheapest, fits, solve, total


def _problem(seed: int, layers: int = 5):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 1000, layers)
    errors = {
        f"layer{index}": {bits: float(rng.random() * 10.0**-bits) for bits in (2, 4, 8)}
        for index in range(layers)
    }
    costs = {
        f"layer{index}": {bits: float(sizes[index] * bits) for bits in (2, 4, 8)} for index in range(layers)
    }
    return errors, costs


def _all(errors):
    return [dict(zip(errors, bits, strict=True)) for bits in product((2, 4, 8), repeat=len(errors))]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_the_smallest_error_of_all_within_the_budget(seed, share):
    errors, costs = _problem(seed)
    budget = share * total(costs, dict.fromkeys(errors, 8))
    found = solve(errors, costs, budget)
    best = min(total(errors, each) for each in _all(errors) if total(costs, each) <= budget)
    assert fits(total(costs, found), budget)
    assert total(errors, found) == pytest.approx(best, rel=1e-5)


def test_a_budget_that_is_met_exactly():
    errors, costs = _problem(0)
    assert solve(errors, costs, total(costs, dict.fromkeys(errors, 8))) == dict.fromkeys(errors, 8)
    assert solve(errors, costs, total(costs, dict.fromkeys(errors, 2))) == dict.fromkeys(errors, 2)


def test_a_budget_below_the_cheapest():
    errors, costs = _problem(1)
    assert solve(errors, costs, 0.999 * total(costs, cheapest(costs))) is None


def test_of_equal_costs_the_most_bits():
    assert cheapest({"layer": {2: 1.0, 4: 1.0, 8: 1.0}}) == {"layer": 8}


def test_errors_of_zero():
    costs = {"a": {2: 1.0, 8: 4.0}}
    assert solve({"a": {2: 0.0, 8: 0.0}}, costs, 2.0) == {"a": 2}
