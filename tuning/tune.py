"""The tuning of a model: rounds of measurements, each for the kernel that they may gain most for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tvm.target import Target

from ..errors import TvmqError
from ..schedules.records import read_records
from ..targets import intrinsics
from ..targets.features import row_of, threads_of
from .child import Measured
from .cost_model import CostModel
from .evaluate import Prepare, prepare_here
from .measure import MeasureOptions, measure
from .search import Search
from .store import Store
from .tasks import Task

ROUND = 16
"""Trials of one kernel before the cost model learns from them and another kernel may take its turn."""


@dataclass(frozen=True)
class TuneOptions:
    """Choices of ``tune``.

    Attributes
    ----------
    trials : measurements at most, of all kernels together.
    early_stopping : trials of one kernel without improvement after which it is done; None goes on.
    seed : of the random choices.
    """

    trials: int = 1000
    early_stopping: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise TvmqError(f"trials must be at least 1, got {self.trials}")
        if self.early_stopping is not None and self.early_stopping < 1:
            raise TvmqError(f"early_stopping must be at least 1, got {self.early_stopping}")


class Watcher(Protocol):
    """Is told how tuning goes on."""

    def trial(self, search: Search, measured: Measured) -> None: ...

    def round(self, searches: Sequence[Search], current: Search, left: int) -> None: ...


def tune(
    tasks: Sequence[Task],
    target: Target,
    output: Path,
    watcher: Watcher,
    *,
    options: TuneOptions | None = None,
    measuring: MeasureOptions | None = None,
    prepare: Prepare = prepare_here,
    devices: Callable[[], int] | None = None,
    earlier: Path | None = None,
) -> list[Search]:
    """Measure candidates of the tasks, and write what was measured to ``output`` as it comes.

    Candidates that ``output`` or ``earlier`` has records of are not measured again.

    Parameters
    ----------
    tasks : what ``extract_tasks`` returned, or some of it.
    output : folder of the records.
    prepare, devices : build kernels, and tell how many run side by side (``measure.measure``).
    earlier : folder with records of an earlier run, which is only read.

    Raises
    ------
    TvmqError : there is nothing to tune, xgboost is missing, the records cannot be read or written, or there is no
        device any more.
    """
    options, measuring = options or TuneOptions(), measuring or MeasureOptions()
    if not tasks:
        raise TvmqError("the model has no kernel that can be tuned")
    row, threads = row_of(target), threads_of(target)
    intrinsics.register_all(row)  # once here, and not in each child
    model = CostModel(target, row)
    sources = [read_records(earlier, row, threads)] if earlier is not None else []
    store = Store(output, target)
    sources.append(store.records(row))
    searches = [
        Search(
            task,
            row,
            threads,
            [record for source in sources for record in source.by_workload.get(task.hash, [])],
            model,
            options.seed + number,
        )
        for number, task in enumerate(tasks)
    ]
    left = options.trials
    waiting = list(searches)
    while left and waiting:
        search = max(waiting, key=promise)
        candidates = search.propose(min(ROUND, left))
        results: dict[int, Measured] = {}
        functions = [candidate.function for candidate in candidates]
        for number, measured in measure(functions, target, measuring, prepare, devices):
            store.add(search.task, candidates[number], measured)
            search.take(candidates[number], measured)
            results[number] = measured
            watcher.trial(search, measured)
        left -= len(candidates)
        if candidates:
            search.learn(candidates, [results[number] for number in range(len(candidates))])
        stalled = options.early_stopping is not None and search.since_gain >= options.early_stopping
        if search.is_exhausted or stalled:
            waiting.remove(search)
        watcher.round(searches, search, left)
    return searches


def promise(search: Search) -> float:
    """Return how much a round may gain: a kernel's part of the model's time, less with each trial that it had.

    A kernel that has not been measured comes first, one of which no candidate has run last.
    """
    if not search.trials:
        return math.inf
    if math.isinf(search.best):
        return 0.0
    return search.task.calls * search.best / search.trials
