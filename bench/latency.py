"""Latency of several engines, measured in turn so that what else the machine does hits all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .engines import Run

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


def _seconds_a_call(run: Run, sample: np.ndarray, number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        run(sample)
    return (time.perf_counter() - start) / number


def measure(
    runs: Mapping[str, Run], sample: np.ndarray, rounds: int, advance: Callable[[], None]
) -> dict[str, Latency]:
    """Time each engine once a round and return the medians.

    A turn is one untimed call, which brings weights and code back into the caches, then as many timed ones as
    fill ``TURN_SECONDS``.

    Parameters
    ----------
    runs : engine name to its call.
    sample : float32 ``[1, C, H, W]``.
    rounds : how often each engine has its turn.
    advance : called after each round.
    """
    numbers = {}
    for name, run in runs.items():
        run(sample)
        numbers[name] = max(1, round(TURN_SECONDS / _seconds_a_call(run, sample, 3)))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run(sample)
            seconds[name].append(_seconds_a_call(run, sample, numbers[name]))
        advance()
    return {name: _summary(np.array(values) * 1e3) for name, values in seconds.items()}


def _summary(milliseconds: np.ndarray) -> Latency:
    low, median, high = np.percentile(milliseconds, (25, 50, 75))
    return Latency(float(median), float(high - low) / 2)
