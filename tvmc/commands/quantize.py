"""``tvmc quantize``: a model to a Q/DQ ONNX file, for onnxruntime, OpenVINO and others, or to compile later."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...errors import TvmqError
from ..files import check_output
from ..model_flags import add_model_flags, import_model, quantized
from ..quantize_flags import add_quantize_flags, config_of
from ..tables import megabytes
from ..target_flags import add_target_flags, target_from


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add this command to the command line and return its parser."""
    parser = subparsers.add_parser(
        "quantize",
        help="quantize a model to a Q/DQ ONNX file that other runtimes take too",
        description="Quantize an ONNX or TFLite model to an ONNX file, whose operators stand between QuantizeLinear "
        "and DequantizeLinear. tvmc compile makes the same integers of it as of the model itself.",
        usage="tvmc quantize [options] FILE",
        allow_abbrev=False,
    )
    add_model_flags(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="the file to write (default: the model's name with _qdq or _qoperator, in this folder)",
    )
    parser.add_argument(
        "--output-format",
        choices=("qdq", "qoperator"),
        default="qdq",
        help="qdq: float operators between QuantizeLinear and DequantizeLinear (default); qoperator: operators on "
        "integers where onnxruntime has any, such as QLinearConv",
    )
    add_target_flags(parser)
    add_quantize_flags(parser)
    parser.set_defaults(model_format=None)  # a flag of the commands that the old tvmc had
    return parser


def run(args: argparse.Namespace) -> None:
    """Quantize as the arguments say.

    Raises
    ------
    TvmqError : whatever the arguments, the model or the calibration data are at fault for; an operator that has no form
        in ONNX.
    """
    config = config_of(args)
    if config.scheme is None:
        raise TvmqError("--quantize is missing: it says which scheme the model gets, such as int8")
    output = args.output or Path(f"{args.FILE.stem}_{args.output_format}.onnx")
    check_output(output, args.FILE)
    target = target_from(args, config.target)
    model = quantized(config, import_model(args), target, config.calibration)
    model.to_onnx(output, args.output_format)
    size = sum(
        path.stat().st_size for path in (output, output.with_name(f"{output.name}.data")) if path.is_file()
    )
    print(f"{output}: {megabytes(size)}, {model.scheme}")
