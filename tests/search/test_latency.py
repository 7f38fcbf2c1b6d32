"""A budget of time, with a machine whose times are known; and the times of real kernels."""

from __future__ import annotations

import pytest

from tvmq import api
from tvmq.errors import TvmqError
from tvmq.passes.prepare.prepare import Prepare
from tvmq.search.latency import LatencyBudget, Stopwatch, Timing
from tvmq.search.recipe import FLOAT
from tvmq.search.refine import least_error
from tvmq.search.state import SearchState

from .network import WEIGHTS, network, recipe, samples

LAYERS = ("a", "b", "c", "d")
CANDIDATES = dict.fromkeys(LAYERS, (8, FLOAT))
ERRORS = {layer: {8: error, FLOAT: 0.0} for layer, error in zip(LAYERS, (0.1, 0.4, 0.2, 0.3), strict=True)}


class Machine:
    """Integers take 1 ms a layer, floats 3, all else 1; and each change from one to the other takes ``change``."""

    def __init__(self, change: float = 0.0):
        self.change = change
        self.timed: list[dict[str, int]] = []

    def time(self, bits):
        self.timed.append(dict(bits))
        kinds = [count == FLOAT for count in bits.values()]
        changes = sum(one != other for one, other in zip(kinds, kinds[1:], strict=False))
        layers = {layer: (3e-3 if count == FLOAT else 1e-3) for layer, count in bits.items()}
        return Timing(1e-3 + sum(layers.values()) + changes * self.change, layers)


def _best(machine, milliseconds, state=None):
    budget = LatencyBudget(milliseconds * 1e-3, CANDIDATES, machine, state or SearchState(None, ""))

    def error(assignment):
        return sum(ERRORS[layer][bits] for layer, bits in assignment.items())

    best = budget.best(lambda time: least_error(ERRORS, budget.costs, time, error, trials=5))
    assert machine.time(best).run <= milliseconds * 1e-3
    return {layer for layer, bits in best.items() if bits == FLOAT}


@pytest.mark.parametrize(
    ("milliseconds", "floats"),
    [(5.1, set()), (7.1, {"b"}), (9.1, {"b", "d"}), (11.1, {"b", "c", "d"}), (13.1, {*LAYERS})],
)
def test_the_worst_layers_get_the_time_that_there_is(milliseconds, floats):
    assert _best(Machine(), milliseconds) == floats


def test_what_conversions_cost_comes_off_the_time_for_layers():
    # b and d in float: 9 ms by their kernels, 12 with three changes. c and d: 10 with one change.
    floats = _best(Machine(change=1e-3), 10.1)
    assert len(floats) <= 2 and floats != {"b", "d"}


def test_too_short_a_time_names_the_shortest():
    with pytest.raises(
        TvmqError, match="a run cannot take 4.9 ms: the shortest that was measured takes 5 ms"
    ):
        _best(Machine(), 4.9)


def test_times_are_measured_once():
    state, again = SearchState(None, ""), Machine()
    _best(Machine(), 9.1, state)
    _best(again, 9.1, state)
    assert len(again.timed) == 1  # by the test itself


def test_kernels_of_a_real_model_count_for_its_layers():
    mod, mine = Prepare()(network()), recipe()
    calibrated = mine.calibrated(mod)
    stopwatch = Stopwatch(mod, mine, calibrated, lambda quantized: api.compile(quantized), samples(1)[0])
    for bits in (8, FLOAT):
        timing = stopwatch.time(dict.fromkeys(WEIGHTS, bits))
        assert set(timing.layers) == set(WEIGHTS)
        assert all(seconds > 0 for seconds in timing.layers.values()) and timing.run > 0
