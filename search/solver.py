"""The choice with the smallest sum of errors within a budget: an integer linear program.

    minimize    sum of error[u, b] x[u, b]
    subject to  sum over b of x[u, b] = 1   for each unit u
                sum of cost[u, b] x[u, b] <= budget,   x in {0, 1}

The errors of single layers are taken to add up, which to first order errors at a model's output do: they are squared
distances of nearly independent disturbances (Dong et al., HAWQ-V2, 2020; Yao et al., HAWQ-V3, 2021, section 3.4).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Choices = Mapping[str, Mapping[int, float]]
"""A number for each unit and each number of bits that it may have."""
Assignment = dict[str, int]
"""The bits of each unit."""

SLACK = 1e-9
"""By which share a sum of costs may pass the budget: what rounding does to it."""


def total(numbers: Choices, assignment: Mapping[str, int]) -> float:
    """Return the sum of what the assignment chooses."""
    return sum(numbers[unit][bits] for unit, bits in assignment.items())


def cheapest(costs: Choices) -> Assignment:
    """Return the assignment of least cost; of equal ones the most bits."""
    return {unit: min(choices, key=lambda bits: (choices[bits], -bits)) for unit, choices in costs.items()}


def fits(cost: float, budget: float) -> bool:
    """Tell whether a cost is within the budget."""
    return cost <= budget * (1 + SLACK)


def solve(errors: Choices, costs: Choices, budget: float) -> Assignment | None:
    """Return the assignment of smallest error within the budget; None where the cheapest is beyond it."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    if not fits(total(costs, cheapest(costs)), budget):
        return None
    places = [(unit, bits) for unit, choices in errors.items() for bits in choices]
    unit_of = {unit: row for row, unit in enumerate(errors)}
    rows = [unit_of[unit] for unit, _ in places]
    one_each = csr_array((np.ones(len(places)), (rows, range(len(places)))))
    error = np.array([errors[unit][bits] for unit, bits in places])
    cost = np.array([costs[unit][bits] for unit, bits in places])
    # The solver's tolerances are absolute.
    found = milp(
        error / max(error.max(), np.finfo(float).tiny),
        integrality=np.ones(len(places)),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(cost[None, :] / budget, -np.inf, 1 + SLACK),
        ],
        options={"mip_rel_gap": 1e-6, "time_limit": 60.0},
    )
    if found.x is None:
        return cheapest(costs)
    chosen = found.x.round().astype(bool)
    return {unit: bits for (unit, bits), taken in zip(places, chosen, strict=True) if taken}
