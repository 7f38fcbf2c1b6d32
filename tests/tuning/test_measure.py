"""Measurements: times of what runs; what fails, dies or hangs is said, and the others are measured all the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest
from tvm.s_tir import Schedule

from tvmq.errors import TvmqError
from tvmq.schedules.cpu.contraction import schedule_contraction
from tvmq.targets.features import row_of
from tvmq.tuning.evaluate import prepare_here
from tvmq.tuning.measure import MeasureOptions, measure

OPTIONS = MeasureOptions(number=1, repeat=2, timeout=1.0, parallel=2)


def refuse(func, target):
    raise ValueError("no such thing\nthe last line")


def die(func, target):
    os.kill(os.getpid(), signal.SIGKILL)


def hang(func, target):
    time.sleep(60)


def die_later(func, target):
    return lambda number, repeat, minimum_ms: os._exit(3)


def hang_later(func, target):
    return lambda number, repeat, minimum_ms: time.sleep(60)


def works(func, target):
    return lambda number, repeat, minimum_ms: [1e-3 * number] * repeat


def by_name(func, target):
    """Prepare as the function named ``func``: what is measured here stands for a kernel."""
    return func(func, target)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (refuse, "ValueError: the last line"),
        (die, "died building (signal 9)"),
        (hang, "still building after 1 s"),
        (die_later, "died running (exit code 3)"),
        (hang_later, "still running after 1 s"),
    ],
)
def test_a_broken_candidate_is_named_and_the_next_is_measured(target, broken, message):
    found = dict(measure([works, broken, works], target, OPTIONS, by_name))
    assert found[1].error == message and not found[1].seconds
    assert found[0].seconds == found[2].seconds == (1e-3, 1e-3)
    assert not multiprocessing.active_children()


def test_nothing_is_left_running_where_the_reader_stops(target):
    measurements = measure([works, hang_later, hang_later], target, OPTIONS, by_name)
    next(measurements)
    measurements.close()
    assert not multiprocessing.active_children()


def test_a_kernel_is_timed(tasks, target):
    sch = Schedule(tasks[0].func)
    assert schedule_contraction(sch, row_of(target), 1) == ""
    options = MeasureOptions(number=1, repeat=3, timeout=60, parallel=1)
    ((number, measured),) = measure([sch.mod["main"]], target, options, prepare_here)
    assert number == 0 and len(measured.seconds) == 3 and min(measured.seconds) > 0


@pytest.mark.parametrize(
    "bad", [{"number": 0}, {"repeat": 0}, {"timeout": 0}, {"parallel": 0}, {"min_repeat_ms": -1}]
)
def test_options_are_checked(bad):
    with pytest.raises(TvmqError, match=next(iter(bad))):
        MeasureOptions(**bad)
