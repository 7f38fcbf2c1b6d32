"""``tvmc compile``: an ONNX file to a package, quantized on the way where asked."""

from __future__ import annotations

import argparse
import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TvmqError
from .files import check_output
from .model_flags import (
    add_linker_flags,
    add_model_flags,
    add_pass_flags,
    check_linker_flags,
    import_model,
    pass_config_of,
    quantized,
)
from .progress import progress
from .quantize_flags import add_quantize_flags, config_of
from .tables import counted, megabytes, typed
from .target_flags import add_target_flags, target_from

if TYPE_CHECKING:
    from tvm.target import Target

    from ..api import QuantizedModel
    from ..config.config import Config
    from ..runtime.package import Package
    from ..schedules.options import CompileOptions

logger = logging.getLogger(__name__)

_IN_FLOAT = {"float", "folded"}
"""What layers are that do not run on integers."""


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
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write what quantization did to each tensor as CSV files and an HTML page, over the calibration data's "
        "first 100 samples",
    )
    parser.add_argument(
        "--print-passes",
        type=Path,
        metavar="DIR",
        help="write what each pass made of the model, what it changed, and how long it took",
    )
    add_linker_flags(parser)
    parser.add_argument("--tuning-records", type=Path, metavar="PATH", help="tuned schedules to use")
    add_pass_flags(parser)
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
    _check_report(args, config)
    package = _compile(args, config)
    package.export(args.output)
    print(_summary(args.output, package))


def _compile(args: argparse.Namespace, config: Config) -> Package:
    """Return the package; the cheap checks come first."""
    from .. import api

    target = target_from(args, config.target)
    options = _compile_options(args, target)
    pass_files = _pass_files(args.print_passes)
    model = import_model(args)
    with pass_files:
        model = quantized(config, model, target, config.calibration)
        package = api.compile(model, target, options=options, progress=progress)
    if config.scheme is not None and {layer["status"] for layer in package.metadata["layers"]} <= _IN_FLOAT:
        logger.warning("nothing is quantized: all layers stay in float, and tvmc inspect says why")
    if isinstance(model, api.QuantizedModel) and args.report is not None:
        _report(model, package, config, args.report)
    return package


def _pass_files(folder: Path | None) -> AbstractContextManager[Any]:
    """Return the context in which each pass is written to a folder; raises ``TvmqError`` where none can be made."""
    if folder is None:
        return nullcontext()
    from tvm.ir.transform import PassContext

    from ..passes.instruments import PassFiles

    return PassContext(instruments=[PassFiles(folder)])


def _check_report(args: argparse.Namespace, config: Config) -> None:
    """Raise ``TvmqError`` where there can be no report: nothing to compare, no samples, no folder."""
    from ..report.files import check_folder

    if args.report is None:
        return
    if config.scheme is None:
        raise TvmqError("--report has no effect without --quantize")
    if config.calibration is None:
        raise TvmqError("--report needs --calibration-data: it runs the model on samples")
    check_folder(args.report)


def _report(model: QuantizedModel, package: Package, config: Config, folder: Path) -> None:
    """Write the report, and put its tables into the package for ``tvmc inspect --errors``."""
    from ..report.files import METADATA, PAGE, tables

    report = model.report(config.calibration, package=package, progress=progress)
    report.to_csv(folder)
    report.to_html(folder / PAGE)
    package.metadata[METADATA] = tables(report, ("tensors", "outputs"))


def _compile_options(args: argparse.Namespace, target: Target) -> CompileOptions:
    """Return the options that the flags give; raises ``TvmqError`` where one is unknown or missing."""
    from ..schedules.options import CompileOptions

    pass_config = pass_config_of(args)
    check_linker_flags(args, target)
    return CompileOptions(
        cross_compiler=args.cross_compiler,
        cross_compiler_options=tuple(args.cross_compiler_options),
        tuning_records=args.tuning_records,
        pass_config=pass_config,
    )


def _summary(output: Path, package: Package) -> str:
    """Return one line: what was written, for what, and how much of it runs on integers."""
    metadata = package.metadata
    size, layers = megabytes(output.stat().st_size), counted(metadata["layers"])
    return f"{output}: {size}, {metadata['scheme']}, for {typed(metadata['target'])}; layers: {layers}"
