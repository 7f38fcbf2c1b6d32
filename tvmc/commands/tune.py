"""``tvmc tune``: faster schedules for a model's kernels, found by measuring, as a folder of records."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from ...errors import TvmqError
from ...ranges import greatest
from ..model_flags import (
    add_linker_flags,
    add_model_flags,
    add_pass_flags,
    check_linker_flags,
    import_model,
    pass_config_of,
    quantized,
)
from ..old.flags import add_old_flags, say
from ..old.table import TUNE
from ..quantize_flags import add_quantize_flags, config_of
from ..target_flags import add_target_flags, target_from
from ..tune_flags import add_tune_flags
from ..tuning import prepare_for, print_tasks, selected, tune_tasks

if TYPE_CHECKING:
    from tvm import IRModule
    from tvm.target import Target

    from ...given import Samples
    from ...tuning.remote import Remote


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
    add_old_flags(parser, TUNE)
    return parser


def run(args: argparse.Namespace) -> None:
    """Tune as the arguments say. Whatever can be refused at once is refused before the long work.

    Raises
    ------
    TvmqError : whatever the arguments, the model, the records or the tracker are at fault for.
    """
    say(TUNE, vars(args))
    config = config_of(args)
    if args.fill_mode is not None and config.calibration is not None:
        raise TvmqError("--fill-mode has no effect with --calibration-data")
    if (args.rpc_tracker is None) != (args.rpc_key is None):
        raise TvmqError("--rpc-tracker and --rpc-key belong together")
    from ... import api
    from ...tuning.measure import MeasureOptions
    from ...tuning.tune import TuneOptions

    target = target_from(args, config.target)
    options = TuneOptions(trials=args.trials, early_stopping=args.early_stopping or None)
    measuring = MeasureOptions(
        number=args.number,
        repeat=args.repeat,
        timeout=args.timeout,
        parallel=args.parallel or len(os.sched_getaffinity(0)),
        min_repeat_ms=args.min_repeat_ms,
    )
    listed = "list" in args.tasks  # which needs no device
    if not listed:
        prepare, devices = prepare_for(target, pass_config_of(args), _remote(args, target))
    model = import_model(args)
    calibration = config.calibration or _random_sample(args, model)
    tasks = api.tuning_tasks(quantized(config, model, target, calibration), target)
    if listed:
        print_tasks(tasks)
        return
    chosen = selected(tasks, args.tasks)
    tune_tasks(chosen, target, args.output, options, measuring, prepare, devices, args.tuning_records)
    print(f"{args.output}: use it with tvmc compile --tuning-records {args.output}")


def _remote(args: argparse.Namespace, target: Target) -> Remote | None:
    """Return the device of the tracker that the flags name; None without one."""
    from ...tuning.devices import Devices
    from ...tuning.remote import Remote

    if args.rpc_tracker is None:
        return None
    check_linker_flags(args, target)
    host, port = args.rpc_tracker
    devices = Devices(host, port, args.rpc_key)
    return Remote(devices, args.cross_compiler, tuple(args.cross_compiler_options), args.timeout)


def _random_sample(args: argparse.Namespace, model: IRModule) -> Samples:
    """Return one sample at random, which does where none are named: only speed matters here."""
    from ...passes.hub.graph import input_specs
    from ..inputs import make_inputs

    tensors = [
        {"name": name, "shape": greatest(shape), "dtype": dtype}
        for name, (shape, dtype) in input_specs(model).items()
    ]
    return [make_inputs(tensors, None, args.fill_mode)]
