"""Clocks: the time of a run, and of each kernel call within one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KernelTime:
    """Time that one kernel call of a run took.

    Attributes
    ----------
    kernel : the kernel's name in ``mod.so``.
    layers : names of the user's nodes that it computes.
    seconds : its own time, the mean over the profiled runs.
    """

    kernel: str
    layers: tuple[str, ...]
    seconds: float


class Recorder:
    """Instrument of the virtual machine: called before and after each of its calls.

    Parameters
    ----------
    wait : called before the clock is read, where kernels may not be done when their call is; None where they are.
    """

    def __init__(self, wait: Callable[[], None] | None = None) -> None:
        self.calls: list[KernelTime] = []
        self._wait = wait
        self._start = 0.0

    def __call__(self, _function: Any, name: str, before: bool, _result: Any, *_arguments: Any) -> int:
        if name.startswith("vm.builtin."):
            return 0
        if self._wait is not None:
            self._wait()
        now = time.perf_counter()
        if before:
            self._start = time.perf_counter()
        else:
            self.calls.append(KernelTime(name, (), now - self._start))
        return 0  # run the call


def mean_times(run: Callable[[], Any], number: int, repeat: int) -> list[float]:
    """Return ``repeat`` mean times, in seconds, of ``number`` runs each, after one run to warm up."""
    run()
    means = []
    for _ in range(repeat):
        start = time.perf_counter()
        for _ in range(number):
            run()
        means.append((time.perf_counter() - start) / number)
    return means
