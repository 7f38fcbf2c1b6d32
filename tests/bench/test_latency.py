"""The engines take turns; what is returned are medians and spreads of the turns."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tvmq.bench import latency

SAMPLE = np.zeros((1, 1, 1, 1), np.float32)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock of one entry, in seconds, that only the engines under test advance."""
    now = [0.0]
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])
    return now


def _engine(name: str, clock: list[float], costs, calls: list[str]):
    def run(sample: np.ndarray) -> np.ndarray:
        calls.append(name)
        clock[0] += next(costs)
        return sample

    return run


def test_engines_are_interleaved(clock: list[float]) -> None:
    calls: list[str] = []
    seconds = {"slow": 0.020, "fast": 0.005}
    timers = {
        name: latency.timer_of(_engine(name, clock, itertools.repeat(cost), calls), SAMPLE)
        for name, cost in seconds.items()
    }
    measured = latency.measure(timers, 3, lambda: calls.append("|"))
    # A turn is a call whose time is dropped, then as many as fill 20 ms: one of the slow engine, four of the fast one.
    rounds = "".join(call[0] for call in calls).split("|")[1:3]
    assert rounds == ["ss" + "fffff"] * 2
    assert measured["slow"] == latency.Latency(pytest.approx(20.0), pytest.approx(0.0))
    assert measured["fast"] == latency.Latency(pytest.approx(5.0), pytest.approx(0.0))


def test_a_disturbed_round_moves_the_median_little(clock: list[float]) -> None:
    # Four calls to find the number of repeats, then in each round one that is dropped and one that counts.
    timed = [0.020, 0.021, 0.022, 0.023, 9.0]
    costs = iter([0.020] * 4 + [cost for value in timed for cost in (0.020, value)])
    timer = latency.timer_of(_engine("one", clock, costs, []), SAMPLE)
    measured = latency.measure({"one": timer}, 5, lambda: None)
    assert measured["one"] == latency.Latency(pytest.approx(22.0), pytest.approx(1.0))
