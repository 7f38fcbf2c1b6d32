"""Where kernels run: on which thread, on how many cores, and never while the process forks or exits.

    run(count, function)  -->  function() on the caller's thread, its kernels on one core
                               function() on a worker's thread, its kernels on several

TVM keeps a pool of threads for each thread that runs a parallel kernel. After a fork the child's only thread would
wait for a pool that is gone, and once more when it exits. So parallel kernels run on threads that are ours: a fork
leaves them behind with their pools, and the child makes new ones. That costs a run some 15 microseconds; a run on one
core stays where it is.

A lock of TVM's that another thread holds during a fork stays locked in the child, and a thread that is within a kernel
while the process exits reads freed memory. Both wait until no other thread runs kernels.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from .threads import share_of, thread_count, use_threads

Result = TypeVar("Result")


class Workers:
    """The threads that run kernels in this process."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin without any thread: at the start, and in a forked child."""
        self._lock = threading.RLock()  # the handler of a signal may fork while its thread holds it
        self._changed = threading.Condition(self._lock)
        self._owner: int | None = None  # the thread that forks, or ends the process
        self._running: set[int | None] = set()  # threads that run kernels
        self._idle: list[_Worker] = []  # the last that worked is the last here: its pool is awake

    def run(self, count: int, function: Callable[[], Result]) -> Result:
        """Return ``function()``, or raise what it raises.

        Parameters
        ----------
        count : on how many threads its kernels run where nothing else runs; calls that are under way at the same
            time share the cores.
        function : runs kernels of TVM's; it neither forks nor calls this method.
        """
        me = threading.get_ident()
        with self._lock:
            while self._owner not in (None, me):
                self._changed.wait()
            share = 1 if self._owner == me else share_of(count, len(self._running) + 1)
            worker = None if share == 1 else self._worker()
            self._running.add(me if worker is None else worker.ident)
        if worker is None:
            try:
                use_threads(1)
                return function()
            finally:
                with self._lock:
                    self.finished(me)
        result, error = worker.call(share, function)
        self._idle.append(worker)
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        return result

    def _worker(self) -> _Worker | None:
        """Return a worker that waits for work; None where the system allows no more threads."""
        if self._idle:
            return self._idle.pop()
        try:
            return _Worker(self)
        except RuntimeError:
            return None

    def hold(self) -> None:
        """Wait until no other thread runs kernels; from now on only the calling thread may, on one core."""
        me = threading.get_ident()
        with self._lock:
            while self._owner not in (None, me):
                self._changed.wait()
            self._owner = me
            while self._running - {me}:
                self._changed.wait()

    def release(self) -> None:
        """Let every thread run kernels again."""
        with self._lock:
            self._owner = None
            self._changed.notify_all()

    def finished(self, thread: int | None) -> None:
        """Note that this thread runs no kernels any more; the lock is held."""
        self._running.discard(thread)
        self._changed.notify_all()

    @property
    def lock(self) -> threading.RLock:
        """Of everything here."""
        return self._lock


class _Worker(threading.Thread):
    """A thread that runs functions one after the other, each for a caller that waits."""

    def __init__(self, workers: Workers) -> None:
        super().__init__(name="tvmq-worker", daemon=True)
        self._workers = workers
        self._jobs: SimpleQueue[tuple[int, Callable[[], Any]] | None] = SimpleQueue()
        self._outcomes: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self.start()

    def call(self, count: int, function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        """Return what the function returns on this thread, or raises."""
        self._jobs.put((count, function))
        try:
            return self._outcomes.get()
        except BaseException:
            self._jobs.put(
                None
            )  # the caller is interrupted, so this worker ends: nobody comes for its outcome
            raise

    def run(self) -> None:
        while (job := self._jobs.get()) is not None:
            outcome = _outcome(*job)
            with self._workers.lock:
                self._outcomes.put(outcome)
                self._workers.finished(self.ident)
            del job, outcome  # a worker that waits keeps nobody's arrays


def _outcome(count: int, function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Return what the function returns or raises, its kernels on so many threads."""
    try:
        use_threads(count)
        return function(), None
    except BaseException as error:
        return None, error


WORKERS = Workers()


def run_kernels(cores: int | None, function: Callable[[], Result]) -> Result:
    """Return ``function()``, whose kernels run on as many threads as the environment, ``cores`` or the machine says.

    Raises
    ------
    TvmqError : as ``threads.thread_count``; and what the function raises.
    """
    return WORKERS.run(thread_count(cores), function)


os.register_at_fork(before=WORKERS.hold, after_in_parent=WORKERS.release, after_in_child=WORKERS.forget)
atexit.register(WORKERS.hold)
