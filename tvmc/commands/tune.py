"""``tvmc tune``: faster schedules for a model's kernels, found by measuring, as a folder of records."""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import TvmqError, unknown
from ..model_flags import (
    add_linker_flags,
    add_model_flags,
    add_pass_flags,
    check_linker_flags,
    import_model,
    pass_config_of,
    quantized,
)
from ..quantize_flags import add_quantize_flags, config_of
from ..tables import print_table
from ..target_flags import add_target_flags, target_from
from ..tune_flags import add_tune_flags
from ..tune_progress import TuneProgress, print_summary

if TYPE_CHECKING:
    from tvm import IRModule
    from tvm.target import Target

    from ...api import Samples
    from ...tuning.evaluate import Prepare
    from ...tuning.tasks import Task


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add this command to the command line and return its parser."""
    parser = subparsers.add_parser(
        "tune",
        help="find faster schedules for a model by measuring",
        description="Measure schedules of a model's kernels, and keep what was measured for tvmc compile "
        "--tuning-records. It can be stopped at any time and goes on where it was.",
        usage="tvmc tune [options] FILE",
        allow_abbrev=False,
    )
    add_model_flags(parser)
    add_tune_flags(parser)
    add_linker_flags(parser)
    add_pass_flags(parser)
    add_target_flags(parser)
    add_quantize_flags(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    """Tune as the arguments say. Whatever can be refused at once is refused before the long work.

    Raises
    ------
    TvmqError : whatever the arguments, the model, the records or the tracker are at fault for.
    """
    config = config_of(args)
    if args.fill_mode is not None and config.calibration is not None:
        raise TvmqError("--fill-mode has no effect with --calibration-data")
    if (args.rpc_tracker is None) != (args.rpc_key is None):
        raise TvmqError("--rpc-tracker and --rpc-key belong together")
    from ... import api
    from ...tuning.measure import MeasureOptions
    from ...tuning.tune import TuneOptions, tune

    target = target_from(args, config.target)
    options = TuneOptions(trials=args.trials, early_stopping=args.early_stopping)
    measuring = MeasureOptions(
        number=args.number,
        repeat=args.repeat,
        timeout=args.timeout,
        parallel=args.parallel or len(os.sched_getaffinity(0)),
    )
    prepare = _prepare(args, target)
    model = import_model(args)
    calibration = config.calibration or _random_sample(args, model)
    tasks = api.tuning_tasks(quantized(config, model, target, calibration), target)
    if args.tasks == ["list"]:
        _print_tasks(tasks)
        return
    with TuneProgress(options.trials) as watcher:
        try:
            searches = tune(
                _selected(tasks, args.tasks),
                target,
                args.output,
                watcher,
                options=options,
                measuring=measuring,
                prepare=prepare,
                earlier=args.tuning_records,
            )
        except KeyboardInterrupt:
            print(f"tvmc: {args.output} has what was measured; the same command goes on", file=sys.stderr)
            raise
    print_summary(searches)
    print(f"{args.output}: use it with tvmc compile --tuning-records {args.output}")


def _prepare(args: argparse.Namespace, target: Target) -> Prepare:
    """Return what builds and runs candidates: here, or on a device of the tracker that the flags name."""
    from ...targets import host
    from ...targets.features import arch_of, features_of
    from ...tuning.evaluate import prepare_here, with_pass_config
    from ...tuning.remote import Remote

    config = dict(pass_config_of(args))
    if args.rpc_tracker is not None:
        check_linker_flags(args, target)
        name, port = args.rpc_tracker
        remote = Remote(
            name, port, args.rpc_key, args.cross_compiler, tuple(args.cross_compiler_options), args.timeout
        )
        remote.check()
        return with_pass_config(remote, config)
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
    return with_pass_config(prepare_here, config)


def _random_sample(args: argparse.Namespace, model: IRModule) -> Samples:
    """Return one sample at random, which does where none are named: only speed matters here."""
    from ...passes.graph import dtype_of, shape_of
    from ..inputs import make_inputs

    tensors = [
        {"name": param.name, "shape": shape_of(param), "dtype": dtype_of(param)}
        for param in model["main"].params
    ]
    return [make_inputs(tensors, None, args.fill_mode)]


def _selected(tasks: Sequence[Task], patterns: Sequence[str]) -> list[Task]:
    """Return the tasks of which a pattern matches the kernel or a layer; all without patterns."""
    if not patterns:
        return list(tasks)
    for pattern in patterns:
        if not any(_matches(task, pattern) for task in tasks):
            raise unknown("task (--tasks)", pattern, [task.name for task in tasks])
    return [task for task in tasks if any(_matches(task, pattern) for pattern in patterns)]


def _matches(task: Task, pattern: str) -> bool:
    return any(name == pattern or fnmatch.fnmatchcase(name, pattern) for name in (task.name, *task.layers))


def _print_tasks(tasks: Sequence[Task]) -> None:
    rows = [(task.name, task.calls, f"{task.macs / 1e6:.1f}", ", ".join(task.layers)) for task in tasks]
    print_table("Tasks", ("kernel", ">calls", ">MMAC", "layers"), rows)
