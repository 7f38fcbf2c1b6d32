"""Measured times of candidates, each built and run in a process of its own.

    fork --> build --> (wait until all of the batch are built) --> run alone --> times
    fork --> build --> (wait for a device) --> run there --> times

A child is forked from a process in which everything is imported, so it starts in milliseconds, and needs no file and
no linker: it runs what it has built. One that crashes or hangs takes nothing with it. Builds run side by side, but
nothing runs beside a measurement on the same machine.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

import tvm
from tvm import tirx

from ..errors import TvmqError
from .evaluate import Prepare

PATIENCE = 30
"""Seconds to wait for a device that is in use, or has just restarted; the device limits how long a candidate runs."""

_fork = multiprocessing.get_context("fork")


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


@dataclass(frozen=True)
class Measured:
    """Times in seconds, each the mean of some runs; none where the candidate failed, and why."""

    seconds: tuple[float, ...]
    error: str = ""


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
    building: dict[Connection, _Child] = {}
    built: deque[_Child] = deque()
    running: dict[Connection, _Child] = {}
    try:
        while waiting or building or built or running:
            while waiting and len(building) < options.parallel:
                child = _Child(*waiting.pop(), target, options, prepare)
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


def _wait(children: Sequence[_Child]) -> None:
    """Return when one of the children has something to say, or its time is up."""
    if children:
        patience = min(child.deadline for child in children) - time.monotonic()
        wait([child.pipe for child in children], max(0.0, patience))


def _answers(children: dict[Connection, _Child], doing: str) -> Iterator[tuple[_Child, Measured]]:
    """Yield the children that have come to an end, and take them out."""
    for pipe, child in list(children.items()):
        answer = child.answer(doing)
        if answer is not None:
            del children[pipe]
            yield child, answer


class _Child:
    """The process of one candidate, seen from the parent."""

    def __init__(
        self,
        number: int,
        func: tirx.PrimFunc,
        target: tvm.target.Target,
        options: MeasureOptions,
        prepare: Prepare,
    ) -> None:
        self.number = number
        self._timeout = options.timeout
        self.pipe, theirs = _fork.Pipe()
        self._process = _fork.Process(
            target=_work, args=(theirs, self.pipe, func, target, options, prepare), daemon=True
        )
        self._process.start()
        theirs.close()
        self._limit = self._timeout
        self.deadline = time.monotonic() + self._limit

    def go(self, patience: float = 0.0) -> None:
        """Let the child run what it has built; it may wait for a device for ``patience`` seconds."""
        self._limit = self._timeout + patience
        self.deadline = time.monotonic() + self._limit
        self.pipe.send(None)

    def answer(self, doing: str) -> Measured | None:
        """Return what the child has to say, with an error where it died or took too long; None if it still works."""
        if self.pipe.poll():
            try:
                answer = self.pipe.recv()
            except (EOFError, ConnectionError):
                self._process.join()
                code = self._process.exitcode
                return Measured(
                    (), f"died {doing} ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
                )
            if answer.error or answer.seconds:
                self._process.join(self._timeout)
            return answer
        if time.monotonic() < self.deadline:
            return None
        self.kill()
        return Measured((), f"still {doing} after {self._limit:g} s")

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def _work(
    pipe: Connection,
    parents: Connection,
    func: tirx.PrimFunc,
    target: tvm.target.Target,
    options: MeasureOptions,
    prepare: Prepare,
) -> None:
    """Run in the child: build, wait for the word, measure; each step ends with a message."""
    parents.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)  # LLVM's last words; the parent says what happened

    def steps() -> None:
        try:
            evaluate = prepare(func, target)
            pipe.send(Measured(()))
            pipe.recv()
            pipe.send(Measured(tuple(evaluate(options.number, options.repeat, options.min_repeat_ms))))
        except (EOFError, BrokenPipeError):
            return  # the parent is gone
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            pipe.send(Measured((), f"{type(error).__name__}: {lines[-1]}"))

    # TVM keeps a pool of threads for each calling thread, and of the parent's only the caller survives a fork.
    thread = threading.Thread(target=steps)
    thread.start()
    thread.join()
