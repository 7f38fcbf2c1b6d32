"""The flags that name the model and the linker, and the model that all flags together describe."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TvmqError
from . import arguments
from .progress import progress
from .quantize_flags import image_options, quantize_options

if TYPE_CHECKING:
    from tvm import IRModule
    from tvm.target import Target

    from ..api import QuantizedModel, Samples


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add the model's file and the shapes of its inputs."""
    parser.add_argument("FILE", type=Path, help="the ONNX model")
    parser.add_argument(
        "--input-shapes",
        type=arguments.input_shapes,
        metavar="SHAPES",
        help="shapes of inputs that the model leaves open: 'x:[1,3,224,224] y:[1,2]'",
    )


def add_linker_flags(parser: argparse.ArgumentParser) -> None:
    """Add the compiler that links for another machine, and its options."""
    parser.add_argument(
        "--cross-compiler",
        metavar="COMPILER",
        help="links for another machine, such as aarch64-linux-gnu-gcc",
    )
    parser.add_argument(
        "--cross-compiler-options",
        type=shlex.split,
        default=[],
        metavar="OPTIONS",
        help="further options for it, with =, as in --cross-compiler-options='-static-libgcc -O2'",
    )


def check_linker_flags(args: argparse.Namespace, target: Target) -> None:
    """Raise ``TvmqError`` where linking for the target needs a compiler that the flags do not name."""
    from ..targets import host
    from ..targets.features import arch_of

    arch = arch_of(target)
    if arch != host.architecture() and args.cross_compiler is None:
        raise TvmqError(f"linking for {arch} needs --cross-compiler, such as {arch}-linux-gnu-gcc")


def import_model(args: argparse.Namespace) -> IRModule:
    """Return the model; raises ``TvmqError`` where it cannot be read or has operators that are not known."""
    from ..frontends.onnx import load_onnx

    with progress("import", None):
        return load_onnx(args.FILE, args.input_shapes)


def quantized(
    args: argparse.Namespace, model: IRModule, target: Target, samples: Samples | None
) -> IRModule | QuantizedModel:
    """Return the model quantized as the flags say; as it is without ``--quantize``."""
    from .. import api

    if args.quantize is None:
        return model
    return api.quantize(
        model,
        scheme=args.quantize,
        target=target,
        calibration=samples,
        options=quantize_options(args),
        progress=progress,
    )


def calibration_samples(args: argparse.Namespace, model: IRModule) -> Samples | None:
    """Return the samples that the flags name; None where they name none."""
    from ..frontends.samples import read_samples
    from ..passes.graph import dtype_of, shape_of

    if args.calibration_data is None:
        return None
    specs = {param.name: (shape_of(param), dtype_of(param)) for param in model["main"].params}
    samples = read_samples(args.calibration_data, specs, image_options(args), args.calibration_samples)
    for note in samples.notes:
        print(f"tvmc: note: {note}", file=sys.stderr)
    return samples
