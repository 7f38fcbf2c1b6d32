"""``tvmc compile``: an ONNX file to a package, quantized on the way where asked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TvmqError, unknown
from . import arguments
from .files import check_output
from .model_flags import (
    add_linker_flags,
    add_model_flags,
    calibration_samples,
    check_linker_flags,
    import_model,
    print_notes,
    quantized,
)
from .progress import progress
from .quantize_flags import add_quantize_flags, config_of
from .tables import counted, megabytes, typed
from .target_flags import add_target_flags, target_from

if TYPE_CHECKING:
    from tvm.target import Target

    from ..config.config import Config
    from ..runtime.package import Package
    from ..schedules.options import CompileOptions


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add this command to the command line and return its parser."""
    parser = subparsers.add_parser(
        "compile",
        help="compile a model, quantized where asked, to one file",
        description="Compile an ONNX model, quantized where asked, to one file for tvmc run and tvmq.load.",
        usage="tvmc compile [options] FILE",
        allow_abbrev=False,
    )
    add_model_flags(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("model.tar"),
        help="the package to write (default: %(default)s)",
    )
    add_linker_flags(parser)
    parser.add_argument("--tuning-records", type=Path, metavar="PATH", help="tuned schedules to use")
    parser.add_argument(
        "--pass-config",
        type=arguments.pass_config,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of TVM's passes, such as tirx.disable_vectorize=true; repeatable",
    )
    add_target_flags(parser)
    add_quantize_flags(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    """Compile as the arguments say. Whatever can be refused at once is refused before the long work.

    Raises
    ------
    TvmqError : whatever the arguments, the model or the calibration data are at fault for.
    """
    config = config_of(args)
    check_output(args.output, args.FILE)
    package = _compile(args, config)
    package.export(args.output)
    print(_summary(args.output, package))


def _compile(args: argparse.Namespace, config: Config) -> Package:
    """Return the package; the cheap checks come first."""
    from .. import api

    target = target_from(args, config.target)
    options = _compile_options(args, target)
    model = import_model(args)
    samples = calibration_samples(config, model)
    quantized_model = quantized(config, model, target, samples)
    print_notes(samples)
    return api.compile(quantized_model, target, options=options, progress=progress)


def _compile_options(args: argparse.Namespace, target: Target) -> CompileOptions:
    """Return the options that the flags give; raises ``TvmqError`` where one is unknown or missing."""
    from tvm.ir.transform import PassContext

    from ..schedules.options import CompileOptions

    known = [str(name) for name in PassContext.list_configs()]
    for name, _ in args.pass_config:
        if name not in known:
            raise unknown("option of TVM's passes (--pass-config)", name, known)
    try:
        PassContext(config=dict(args.pass_config))
    except (AttributeError, TypeError, ValueError) as error:
        raise TvmqError(f"bad value in --pass-config: {error}") from error
    check_linker_flags(args, target)
    return CompileOptions(
        cross_compiler=args.cross_compiler,
        cross_compiler_options=tuple(args.cross_compiler_options),
        tuning_records=args.tuning_records,
        pass_config=tuple(args.pass_config),
    )


def _summary(output: Path, package: Package) -> str:
    """Return one line: what was written, for what, and how much of it runs on integers."""
    metadata = package.metadata
    size, layers = megabytes(output.stat().st_size), counted(metadata["layers"])
    return f"{output}: {size}, {metadata['scheme']}, for {typed(metadata['target'])}; layers: {layers}"
