"""``tvmc compile``: an ONNX or TFLite file to a package or a C library, quantized on the way where asked."""

from __future__ import annotations

import argparse
import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import TvmqError
from .. import arguments
from ..compile_flags import (
    PassInstruments,
    add_code_flags,
    check_dumps,
    code_formats,
    disabled_passes,
    write_dumps,
)
from ..model_flags import (
    add_linker_flags,
    add_model_flags,
    add_pass_flags,
    import_model,
    pass_config_of,
    quantized,
)
from ..old.flags import add_old_flags, say
from ..old.records import current_records
from ..old.table import COMPILE, COMPILED
from ..output_flags import (
    C_STATIC,
    add_output_flags,
    check_output_flags,
    check_target,
    compiler_for,
    write_output,
)
from ..progress import progress
from ..quantize_flags import add_quantize_flags, config_of
from ..target_flags import add_target_flags, target_from

if TYPE_CHECKING:
    from tvm.target import Target

    from ...api import CLibrary, QuantizedModel
    from ...config.config import Config
    from ...report.report import Report
    from ...runtime.package import Package
    from ...schedules.options import CompileOptions

logger = logging.getLogger(__name__)

_IN_FLOAT = {"float", "folded"}
"""What layers are that do not run on integers."""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add this command to the command line and return its parser."""
    parser = subparsers.add_parser(
        "compile",
        help="compile a model, quantized where asked, to one file",
        description="Compile an ONNX or TFLite model, quantized where asked, to one file for tvmc run and tvmq.load, "
        "or to a C library (--output-format).",
        usage="tvmc compile [options] FILE",
        allow_abbrev=False,
    )
    add_model_flags(parser)
    add_output_flags(parser)
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
    parser.add_argument(
        "--min-output-cosine",
        type=arguments.share,
        metavar="X",
        help="write nothing where an output of the compiled integers has a smaller cosine to float's on a few samples "
        "of the calibration data, such as 0.98",
    )
    add_linker_flags(parser)
    parser.add_argument("--tuning-records", type=Path, metavar="PATH", help="tuned schedules to use")
    add_pass_flags(parser)
    add_code_flags(parser)
    add_target_flags(parser)
    add_quantize_flags(parser)
    add_old_flags(parser, COMPILE)
    return parser


def run(args: argparse.Namespace) -> None:
    """Compile as the arguments say. Whatever can be refused at once is refused before the long work.

    Raises
    ------
    TvmqError : whatever the arguments, the model or the calibration data are at fault for.
    """
    _say_what_is_old(args)
    args.dump_code = code_formats(args.dump_code)
    config = config_of(args)
    check_output_flags(args)
    check_dumps(args.output, args.dump_code, args.FILE)
    _check_comparison(args, config)
    made = _compile(args, config)
    write_output(args, made)
    write_dumps(args.output, made)


def _say_what_is_old(args: argparse.Namespace) -> None:
    values = vars(args)
    if args.output_format == C_STATIC:
        values = {**values, "module_name": None}  # it names the library
    say((*COMPILED, *COMPILE), values)


def _compile(args: argparse.Namespace, config: Config) -> Package | CLibrary:
    """Return the package or the library; the cheap checks come first."""
    from ... import api

    target = target_from(args, config.target)
    instruments = PassInstruments(args.print_pass_times, args.print_ir_before, args.print_ir_after)
    options = _compile_options(args, target, instruments)
    compile_model = compiler_for(args)
    pass_files = _pass_files(args.print_passes)
    model = import_model(args)
    with pass_files:
        model = quantized(config, model, target, config.calibration)
        made = compile_model(model, target, options=options, progress=progress)
    if args.print_pass_times:
        print(instruments.report())
    if config.scheme is not None and {layer["status"] for layer in made.metadata["layers"]} <= _IN_FLOAT:
        logger.warning("nothing is quantized: all layers stay in float, and tvmc inspect says why")
    if isinstance(model, api.QuantizedModel):
        report = None
        if args.report is not None:
            report = _report(model, made, config, args.report)
        _compare(model, made, config, args.min_output_cosine, report)
    return made


def _pass_files(folder: Path | None) -> AbstractContextManager[Any]:
    """Return the context in which each pass is written to a folder; raises ``TvmqError`` where none can be made."""
    if folder is None:
        return nullcontext()
    from tvm.ir.transform import PassContext

    from ...passes.scripting.instruments import PassFiles

    return PassContext(instruments=[PassFiles(folder)])


def _check_comparison(args: argparse.Namespace, config: Config) -> None:
    """Raise ``TvmqError`` where there can be no comparison: nothing to compare, no samples, no folder."""
    from ...report.files import check_folder

    if args.report is not None:
        _check_samples("--report", config)
        check_folder(args.report)
    if args.min_output_cosine is not None:
        _check_samples("--min-output-cosine", config)


def _check_samples(flag: str, config: Config) -> None:
    if config.scheme is None:
        raise TvmqError(f"{flag} has no effect without --quantize")
    if config.calibration is None:
        raise TvmqError(f"{flag} needs --calibration-data: it runs the model on samples")


def _compare(
    model: QuantizedModel,
    made: Package | CLibrary,
    config: Config,
    least: float | None,
    report: Report | None,
) -> None:
    """Print how near what was made is to float, put that into it, and warn where it is far.

    Raises
    ------
    TvmqError : an output has a smaller cosine than ``least``.
    """
    from ...report.advice import remedy_for
    from ...report.nearness import GOOD, METADATA

    with progress("compare with float", None):
        kept = model.float_outputs.pairs
        found = model.against_float(_package(made), () if kept else config.calibration or ())
    if found is None:
        print("not compared with float: there is no calibration data")
        return
    print(found)
    remedy = remedy_for(model.scheme, report)
    found.check(least or 0.0, f"no package is written; {remedy}")
    output = found.farthest
    if output is not None and output.cosine < GOOD:
        logger.warning(
            "output %r has a cosine of only %.4f to float's; %s", output.name, output.cosine, remedy
        )
    made.metadata[METADATA] = found.as_metadata()


def _package(made: Package | CLibrary) -> Package | None:
    """Return what can be run here by TVM's runtime; None for a C library."""
    from ...runtime.package import Package

    return made if isinstance(made, Package) else None


def _report(model: QuantizedModel, made: Package | CLibrary, config: Config, folder: Path) -> Report:
    """Write the report, and put its tables into the package for ``tvmc inspect --errors``."""
    from ...report.files import METADATA, PAGE, tables

    report = model.report(config.calibration, package=_package(made), progress=progress)
    report.to_csv(folder)
    report.to_html(folder / PAGE)
    made.metadata[METADATA] = tables(report, ("tensors", "outputs"))
    return report


def _compile_options(
    args: argparse.Namespace, target: Target, instruments: PassInstruments
) -> CompileOptions:
    """Return the options that the flags give; raises ``TvmqError`` where one is unknown or missing."""
    from ...schedules.cuda.archs import check_cuda_archs
    from ...schedules.options import CompileOptions
    from ...schedules.sources import check_formats

    pass_config = pass_config_of(args)
    check_target(args, target)
    check_cuda_archs(target, args.cuda_archs)
    check_formats(args.dump_code, target)
    return CompileOptions(
        cross_compiler=args.cross_compiler,
        cross_compiler_options=tuple(args.cross_compiler_options),
        tuning_records=current_records(args.tuning_records),
        pass_config=pass_config,
        opt_level=args.opt_level,
        float_type=args.float_type,
        disabled_passes=disabled_passes(args.disabled_pass),
        instruments=instruments.all,
        cuda_archs=tuple(args.cuda_archs),
        cuda_graph=not args.no_cuda_graph,
        dump_code=args.dump_code,
    )
