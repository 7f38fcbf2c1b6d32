"""The old ``tvmc`` in Python: ``load``, ``tune``, ``compile`` and ``run``, with the parameters that they had.

    model = tvmc.load("model.onnx")
    records = tvmc.tune(model, target="llvm")
    package = tvmc.compile(model, target="llvm", tuning_records=records)
    print(tvmc.run(package, device="cpu"))

A parameter that TVM 0.27 or tvmq has nothing for is answered by one line, the same as its flag is (``old/table.py``).
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TvmqError
from . import arguments
from .compile_flags import PassInstruments, check_dumps, code_formats, disabled_passes, write_dumps
from .files import check_output
from .inputs import fill_inputs
from .model import TVMCModel, TVMCPackage
from .model_flags import known_pass_config
from .old.flags import say
from .old.formats import check_format
from .old.records import current_records
from .old.table import COMPILE, COMPILED, HARDWARE_PARAMS, NO_MICRO, TUNE
from .old.targets import current_target
from .output_flags import BUNDLE, PACKAGES
from .remote import RemotePackage
from .result import ExecutionTimes, TVMCResult
from .run_tables import print_profile
from .running import check_device, numbered, times_of
from .tuning import prepare_for, print_tasks, selected, tune_tasks

if TYPE_CHECKING:
    import numpy as np
    from tvm.target import Target

PathLike = str | os.PathLike[str]


def load(
    path: PathLike,
    model_format: str | None = None,
    shape_dict: Mapping[str, Sequence[int]] | None = None,
) -> TVMCModel:
    """Read an ONNX or TFLite model.

    Parameters
    ----------
    model_format : ``"onnx"`` or ``"tflite"``; the file itself tells which it is.
    shape_dict : shapes of inputs that the model leaves open, by name.

    Raises
    ------
    TvmqError : another format; as ``frontends.files.load_model`` does.
    """
    say(COMPILE, {"model_format": model_format}, keywords=True)
    check_format(Path(path), model_format)
    from ..frontends.files import load_model

    return TVMCModel(
        load_model(path, {name: tuple(shape) for name, shape in (shape_dict or {}).items()} or None)
    )


def compile(  # noqa: A001 (its name in the old tvmc)
    tvmc_model: TVMCModel,
    target: str | Target,
    opt_level: int = 3,
    executor: Any = None,
    runtime: Any = None,
    tuning_records: PathLike | None = None,
    package_path: PathLike | None = None,
    cross: str | None = None,
    cross_options: str | None = None,
    output_format: str = "so",
    dump_code: str | Sequence[str] | None = None,
    dump_offloads: str = "",
    target_host: str | None = None,
    disabled_pass: str | Sequence[str] | None = None,
    pass_context_configs: Sequence[str] | None = None,
    additional_target_options: Mapping[str, Mapping[str, Any]] | None = None,
    use_vm: bool = True,
    mod_name: str | None = "default",
    workspace_pools: Any = None,
    print_pass_times: bool = False,
    print_ir_before: Sequence[str] | None = None,
    print_ir_after: Sequence[str] | None = None,
    instruments: Sequence[Any] | None = None,
    desired_layout: str | Sequence[str] | None = None,
    desired_layout_ops: Sequence[str] | None = None,
    mixed_precision: bool = False,
    mixed_precision_ops: Sequence[str] | None = None,
    mixed_precision_calculation_type: str | None = None,
    mixed_precision_acc_type: str | None = None,
) -> TVMCPackage:
    """Compile a model to a package, as ``tvmc compile`` does with the flags of these names.

    Parameters
    ----------
    target : what ``tvmq.compile`` takes, or several targets with commas between.
    tuning_records : what ``tune`` returned.
    package_path : the file to write; None is one in the model's own folder.
    cross, cross_options : the linker for another machine, and its arguments.
    pass_context_configs : options of TVM's passes, each ``"name=value"``.
    additional_target_options : attributes by kind of target, which replace those of ``target``.

    Raises
    ------
    TvmqError : as ``tvmq.compile`` does; a value that is refused (``docs/cli.md``).
    """
    given = dict(locals())
    if not isinstance(tvmc_model, TVMCModel):
        raise TvmqError("tvmc.compile needs what tvmc.load returned")
    say((*COMPILED, *COMPILE), given, keywords=True)
    if output_format not in PACKAGES:
        other = "tvmq.runtime.board.make_bundle" if output_format == BUNDLE else "tvmq.compile_c_library"
        raise TvmqError(f"tvmc.compile makes a package; for output_format {output_format!r} there is {other}")
    from .. import api
    from ..schedules.options import CompileOptions

    output = Path(package_path or tvmc_model.default_package_path())
    formats = code_formats(_names(dump_code))
    check_output(output, None)
    check_dumps(output, formats, None)
    watching = PassInstruments(print_pass_times, _names(print_ir_before), _names(print_ir_after))
    options = CompileOptions(
        cross_compiler=cross or None,
        cross_compiler_options=tuple(shlex.split(cross_options or "")),
        tuning_records=current_records(Path(tuning_records) if tuning_records else None, needed=False),
        pass_config=known_pass_config(_pairs(pass_context_configs or ())),
        opt_level=opt_level,
        disabled_passes=disabled_passes(_names(disabled_pass)),
        instruments=(*watching.all, *(instruments or ())),
        dump_code=formats,
    )
    package = api.compile(tvmc_model.mod, _target(target, additional_target_options), options=options)
    package.export(output)
    write_dumps(output, package)
    if print_pass_times:
        print(watching.report())
    return TVMCPackage(output)


def run(
    tvmc_package: TVMCPackage,
    device: str | None = None,
    hostname: str | None = None,
    port: int | str = 9090,
    rpc_key: str | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    fill_mode: str = "random",
    benchmark: bool = False,
    repeat: int = 10,
    number: int = 10,
    profile: bool = False,
    end_to_end: bool = False,
) -> TVMCResult:
    """Run a package, as ``tvmc run`` does with the flags of these names.

    Parameters
    ----------
    device : ``"cpu"`` or ``"cuda"``, as the package is for; None is either.
    hostname, port : of an RPC tracker, or of a server where there is no ``rpc_key``; None runs it here.
    inputs : arrays by input name; the others are filled.
    benchmark : take ``repeat`` times, each the mean of ``number`` runs; else one time of one run.
    profile : print the time of each layer.
    end_to_end : what is done to inputs and outputs counts too.

    Raises
    ------
    TvmqError : as ``Package.run`` does; another device than the package's; nobody answers at the address.
    """
    if not isinstance(tvmc_package, TVMCPackage):
        raise TvmqError("tvmc.run needs what tvmc.compile returned, or TVMCPackage(package_path=...)")
    if device not in (None, "cpu", "cuda"):
        raise TvmqError(
            f"device {device!r}: {NO_MICRO if device == 'micro' else 'packages are for the CPU or for CUDA'}"
        )
    check_device(device, tvmc_package.metadata)
    if hostname is not None and profile:
        raise TvmqError(
            "profile=True reads the time of each layer in this process: it cannot go with a hostname"
        )
    opened: AbstractContextManager[Any] = nullcontext(tvmc_package.loaded)
    if hostname is not None:
        source = tvmc_package.package_path
        opened = RemotePackage(
            tvmc_package.metadata, tvmc_package.library, source, hostname, int(port), rpc_key
        )
    arrays = fill_inputs(tvmc_package.metadata["inputs"], inputs or {}, fill_mode)
    if not benchmark:
        number = repeat = 1
    with opened as package:
        outputs = package.run(arrays)
        times = ExecutionTimes(tuple(times_of(package, arrays, number, repeat, end_to_end)))
        if profile:
            print_profile(package.profile(arrays), package.metadata["layers"])
    return TVMCResult(numbered(outputs), times, tuple(outputs))


def tune(
    tvmc_model: TVMCModel,
    target: str | Target,
    tuning_records: PathLike | None = None,
    prior_records: PathLike | None = None,
    enable_autoscheduler: bool = False,
    rpc_key: str | None = None,
    hostname: str | None = None,
    port: int | str | None = 9090,
    trials: int = 10000,
    target_host: str | None = None,
    tuner: str = "xgb",
    min_repeat_ms: int | None = None,
    early_stopping: int | None = None,
    timeout: int = 10,
    repeat: int = 1,
    number: int = 10,
    parallel: int = 4,
    hardware_params: Any = None,
    include_simple_tasks: bool = False,
    log_estimated_latency: bool = False,
    additional_target_options: Mapping[str, Mapping[str, Any]] | None = None,
    tasks_filter: str | None = None,
    desired_layout: str | Sequence[str] | None = None,
    desired_layout_ops: Sequence[str] | None = None,
    mixed_precision: bool = False,
    mixed_precision_ops: Sequence[str] | None = None,
    mixed_precision_calculation_type: str | None = None,
    mixed_precision_acc_type: str | None = None,
) -> str | None:
    """Measure schedules of a model's kernels, as ``tvmc tune`` does with the flags of these names.

    Parameters
    ----------
    tuning_records : the folder to write to; None is one of the model's own.
    prior_records : a folder to go on from besides.
    hostname, port, rpc_key : measure on a device of this tracker.
    tasks_filter : ``--tasks``; with ``list`` they are printed.

    Returns
    -------
    The folder, for ``compile(tuning_records=...)``; None where the tasks were printed.

    Raises
    ------
    TvmqError : as ``tuning.tune.tune`` does.
    """
    given = dict(locals())
    if not isinstance(tvmc_model, TVMCModel):
        raise TvmqError("tvmc.tune needs what tvmc.load returned")
    if (hostname is None) != (rpc_key is None):
        raise TvmqError("hostname and rpc_key belong together")
    say((*TUNE, HARDWARE_PARAMS), given, keywords=True)
    from .. import api
    from ..tuning.devices import Devices
    from ..tuning.measure import MeasureOptions
    from ..tuning.remote import Remote
    from ..tuning.tune import TuneOptions

    made_for = _target(target, additional_target_options)
    measuring = MeasureOptions(
        number=number,
        repeat=repeat,
        timeout=timeout,
        parallel=parallel,
        **({} if min_repeat_ms is None else {"min_repeat_ms": min_repeat_ms}),
    )
    remote = None
    if hostname is not None:
        remote = Remote(Devices(hostname, int(port), rpc_key), session_seconds=timeout)
    prepare, devices = prepare_for(made_for, (), remote)
    tasks = api.tuning_tasks(tvmc_model.mod, made_for)
    patterns = _names(tasks_filter)
    if "list" in patterns:
        print_tasks(tasks)
        return None
    output = Path(tuning_records or tvmc_model.default_tuning_records_path())
    options = TuneOptions(trials=trials, early_stopping=early_stopping or None)
    earlier = Path(prior_records) if prior_records else None
    chosen = selected(tasks, patterns)
    tune_tasks(chosen, made_for, output, options, measuring, prepare, devices, earlier)
    return str(output)


def _target(target: str | Target, attributes: Mapping[str, Mapping[str, Any]] | None) -> Target:
    """Return the checked target, with the attributes of llvm that replace its own."""
    from ..targets.parse import parse_target

    others = dict(attributes or {})
    own = others.pop("llvm", {})
    flags = [f"--target-{kind}-{name}" for kind, values in others.items() for name in values]
    named = current_target(target, flags) if isinstance(target, str) else target
    return parse_target(named, **own)


def _names(text: str | Sequence[str] | None) -> list[str]:
    """Return the names of a list, or of a text with commas between them."""
    return arguments.names(text) if isinstance(text, str) else list(text or ())


def _pairs(texts: Sequence[str]) -> list[tuple[str, Any]]:
    try:
        return [arguments.pass_config(text) for text in texts]
    except argparse.ArgumentTypeError as error:
        raise TvmqError(f"pass_context_configs: {error}") from error
