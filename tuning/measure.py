"""Measured times of candidates, each built and run in a process of its own.

    fork --> build --> (wait until all of the batch are built) --> run alone --> times
    fork --> build --> (wait for a device) --> run there --> times

A child is forked from a process in which everything is imported, so it starts in milliseconds, and needs no file and no
linker: it runs what it has built. For CPUs that process is this one, for GPUs another, which has not met CUDA. One that
crashes or hangs takes nothing with it. Builds run side by side, but nothing runs beside a measurement on the same
machine.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

import tvm
from tvm import tirx

from ..errors import TvmqError
from .child import Child, Measured
from .evaluate import Prepare

PATIENCE = 30
"""Seconds to wait for a device that is in use, or has just restarted; the device limits how long a candidate runs."""


@dataclass(frozen=True)
class MeasureOptions:
    """How candidates are measured.

    Attributes
    ----------
    number : runs in each time, at least; more where they take less than ``min_repeat_ms`` together.
    repeat : times to take; a record keeps all of them, and the median counts.
    timeout : seconds after which a candidate that is still being built, or still runs, is given up.
    parallel : builds side by side.
    min_repeat_ms : what a time covers at least: the clock and what else the machine does weigh little then.
    """

    number: int = 3
    repeat: int = 5
    timeout: float = 10.0
    parallel: int = 2
    min_repeat_ms: int = 5

    def __post_init__(self) -> None:
        for name in ("number", "repeat", "parallel"):
            if getattr(self, name) < 1:
                raise TvmqError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.min_repeat_ms < 0:
            raise TvmqError(f"min_repeat_ms must be at least 0, got {self.min_repeat_ms}")
        if not self.timeout > 0:
            raise TvmqError(f"timeout must be a positive number of seconds, got {self.timeout}")


def measure(
    functions: Sequence[tirx.PrimFunc],
    target: tvm.target.Target,
    options: MeasureOptions,
    prepare: Prepare,
    devices: Callable[[], int] | None = None,
) -> Iterator[tuple[int, Measured]]:
    """Yield the number of each scheduled function and its times, as they come.

    Parameters
    ----------
    prepare : builds a function, in the child; what it returns is called with ``number`` and ``repeat`` and measures.
    devices : tells how many candidates may run at once, on other machines; None is this one.

    Raises
    ------
    TvmqError : ``devices`` has none any more.
    """
    waiting = list(enumerate(functions))[::-1]
    building: dict[Connection, Child] = {}
    built: deque[Child] = deque()
    running: dict[Connection, Child] = {}
    try:
        while waiting or building or built or running:
            while waiting and len(building) < options.parallel:
                child = Child(*waiting.pop(), target, options, prepare)
                building[child.pipe] = child
            room = 0
            if built and devices is not None:
                room = devices()
            elif not waiting and not building:
                room = 1
            while built and len(running) < room:
                child = built.popleft()
                child.go(patience=0 if devices is None else PATIENCE)
                running[child.pipe] = child
            _wait([*building.values(), *running.values()])
            for child, answer in _answers(building, "building"):
                if answer.error:
                    yield child.number, answer
                else:
                    built.append(child)
            for child, answer in _answers(running, "running"):
                yield child.number, answer
    finally:
        for child in [*building.values(), *built, *running.values()]:
            child.kill()


def _wait(children: Sequence[Child]) -> None:
    """Return when one of the children has something to say, or its time is up."""
    if children:
        patience = min(child.deadline for child in children) - time.monotonic()
        wait([child.pipe for child in children], max(0.0, patience))


def _answers(children: dict[Connection, Child], doing: str) -> Iterator[tuple[Child, Measured]]:
    """Yield the children that have come to an end, and take them out."""
    for pipe, child in list(children.items()):
        answer = child.answer(doing)
        if answer is not None:
            del children[pipe]
            yield child, answer
