"""Tuning a model's kernels: which of them, and on which machine, shown as it goes on."""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TvmqError, unknown
from .old.records import current_records
from .tables import print_table
from .tune_progress import TuneProgress, print_summary

if TYPE_CHECKING:
    from tvm.target import Target

    from ..tuning.evaluate import Prepare
    from ..tuning.measure import MeasureOptions
    from ..tuning.remote import Remote
    from ..tuning.tasks import Task
    from ..tuning.tune import TuneOptions

_NUMBERS = re.compile(r"(?P<first>\d*)(?P<dash>-?)(?P<last>\d*)")


def prepare_for(
    target: Target, config: Sequence[tuple[str, Any]], remote: Remote | None
) -> tuple[Prepare, Callable[[], int] | None]:
    """Return what builds and runs candidates, on devices of a tracker or here, and what counts those devices.

    Parameters
    ----------
    config : options of TVM's passes.

    Raises
    ------
    TvmqError : the tracker has no device, or one that cannot run what is for the target; or this machine cannot.
    """
    from ..targets import host
    from ..targets.features import arch_of, features_of, is_gpu
    from ..tuning.evaluate import Configured, prepare_here

    if remote is not None:
        remote.check(target)
        return Configured(remote, tuple(config)), remote.count
    if is_gpu(target):
        return Configured(_prepare_on_gpu(target), tuple(config)), None
    arch = arch_of(target)
    if arch != host.architecture():
        raise TvmqError(
            f"this machine cannot run {arch} code; name a device with --rpc-tracker and --rpc-key"
        )
    missing = host.missing_features(arch, features_of(target))
    if missing:
        raise TvmqError(
            f"this CPU lacks {', '.join(missing)}, which the target has; name a device with --rpc-tracker"
        )
    return Configured(prepare_here, tuple(config)), None


def _prepare_on_gpu(target: Target) -> Prepare:
    from ..schedules.cuda.archs import check_cuda_archs
    from ..targets.cuda.driver import capabilities_by_program
    from ..tuning.on_gpu import prepare_on_gpu, refuse_other_gpu

    found = capabilities_by_program()
    if not found:
        raise TvmqError(
            "tuning measures on the GPU, and there is no NVIDIA GPU here, or no driver for it; "
            "name a device that has one with --rpc-tracker and --rpc-key"
        )
    refuse_other_gpu(found[0], target, "this machine")
    check_cuda_archs(target, ())
    return prepare_on_gpu


def tune_tasks(
    tasks: Sequence[Task],
    target: Target,
    output: Path,
    options: TuneOptions,
    measuring: MeasureOptions,
    prepare: Prepare,
    devices: Callable[[], int] | None,
    earlier: Path | None,
) -> None:
    """Tune as ``tuning.tune.tune`` does, whose parameters these are, and show how it goes on and what it found.

    ``earlier`` records that do not exist yet, or that are none that can be read, are passed over with a line.
    """
    from ..tuning.tune import tune

    earlier = current_records(earlier, needed=False)
    with TuneProgress(options.trials) as watcher:
        try:
            searches = tune(
                tasks,
                target,
                output,
                watcher,
                options=options,
                measuring=measuring,
                prepare=prepare,
                devices=devices,
                earlier=earlier,
            )
        except KeyboardInterrupt:
            print(f"tvmc: {output} has what was measured; the same command goes on", file=sys.stderr)
            raise
    print_summary(searches)


def selected(tasks: Sequence[Task], patterns: Sequence[str]) -> list[Task]:
    """Return the tasks that a pattern means; all without patterns.

    Parameters
    ----------
    patterns : names of kernels or layers, such with ``*``, numbers from 0, ranges such as ``2-5`` and ``16-``, ``all``.

    Raises
    ------
    TvmqError : a pattern means no task.
    """
    if not patterns:
        return list(tasks)
    chosen: set[int] = set()
    for pattern in patterns:
        found = _numbers(pattern, len(tasks)) or [
            number for number, task in enumerate(tasks) if _matches(task, pattern)
        ]
        if not found:
            raise unknown("task (--tasks)", pattern, [task.name for task in tasks])
        chosen.update(found)
    return [task for number, task in enumerate(tasks) if number in chosen]


def print_tasks(tasks: Sequence[Task]) -> None:
    """Print the tasks with their numbers."""
    rows = [
        (number, task.name, task.calls, f"{task.macs / 1e6:.1f}", ", ".join(task.layers))
        for number, task in enumerate(tasks)
    ]
    print_table("Tasks", (">number", "kernel", ">calls", ">MMAC", "layers"), rows)


def _numbers(pattern: str, count: int) -> list[int]:
    """Return the numbers below ``count`` that ``3``, ``2-5``, ``16-``, ``-4`` or ``all`` means; none for a name."""
    if pattern == "all":
        return list(range(count))
    match = _NUMBERS.fullmatch(pattern)
    if match is None or not (match["first"] or match["last"]):
        return []
    first = int(match["first"] or 0)
    last = int(match["last"] or count - 1) if match["dash"] else first
    return [number for number in range(count) if first <= number <= last]


def _matches(task: Task, pattern: str) -> bool:
    return any(name == pattern or fnmatch.fnmatchcase(name, pattern) for name in (task.name, *task.layers))
