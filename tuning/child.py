"""The process in which one candidate is built and run, from both sides."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, ForkServerContext
from typing import TYPE_CHECKING

import tvm
from tvm import tirx

from ..targets.features import is_gpu
from .evaluate import Prepare

if TYPE_CHECKING:
    from .measure import MeasureOptions

_FORK = multiprocessing.get_context("fork")


@functools.cache
def _server() -> ForkServerContext:
    """Return what forks children off a process of its own, which has everything imported and has met no GPU."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__package__ + ".on_gpu", __package__ + ".remote"])
    return context


@dataclass(frozen=True)
class Measured:
    """Times in seconds, each the mean of some runs; none where the candidate failed, and why."""

    seconds: tuple[float, ...]
    error: str = ""


class Child:
    """The process of one candidate, seen from the parent: forked from it, but for a GPU's kernels, where CUDA may be
    in use here, which does not survive a fork: their ``prepare`` must be one that can be pickled.
    """

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
        context: ForkContext | ForkServerContext = _server() if is_gpu(target) else _FORK
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(
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
