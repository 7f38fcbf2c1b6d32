"""Latency of several engines, measured in turn so that what else the machine does hits all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .engines import Run

Timer = Callable[[int], float]
"""``number -> seconds a run``, the mean of that many runs."""

TURN_SECONDS = 0.02
"""A turn repeats the call for about this long: above the clock's grain, short enough to interleave."""


@dataclass(frozen=True)
class Latency:
    """Time of one call.

    Attributes
    ----------
    median_ms : median over the rounds, in ms.
    spread_ms : half of the distance between the quartiles, in ms: how much the machine was disturbed.
    """

    median_ms: float
    spread_ms: float


def timer_of(run: Run, sample: np.ndarray) -> Timer:
    """Return the timer of whole Python calls on the sample, float32 ``[1, ...]``."""
    return timer_of_call(lambda: run(sample))


def timer_of_call(run: Callable[[], object]) -> Timer:
    """Return the timer of whole Python calls."""

    def time_calls(number: int) -> float:
        start = time.perf_counter()
        for _ in range(number):
            run()
        return (time.perf_counter() - start) / number

    return time_calls


def measure(timers: Mapping[str, Timer], rounds: int, advance: Callable[[], None]) -> dict[str, Latency]:
    """Let each timer have its turn once a round and return the medians.

    A turn is one run whose time is dropped, which brings weights and code back into the caches, then as many
    as fill ``TURN_SECONDS``.

    Parameters
    ----------
    timers : what is timed, by name.
    rounds : how many turns each has.
    advance : called after each round.
    """
    numbers = {}
    for name, seconds_a_run in timers.items():
        seconds_a_run(1)
        numbers[name] = max(1, round(TURN_SECONDS / seconds_a_run(3)))
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, seconds_a_run in timers.items():
            seconds_a_run(1)
            seconds[name].append(seconds_a_run(numbers[name]))
        advance()
    return {name: summary(np.array(values) * 1e3) for name, values in seconds.items()}


def summary(milliseconds: np.ndarray) -> Latency:
    """Return median and spread of some milliseconds."""
    low, median, high = np.percentile(milliseconds, (25, 50, 75))
    return Latency(float(median), float(high - low) / 2)
