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

if TYPE_CHECKING:
    from tvm import IRModule
    from tvm.target import Target

    from ..api import QuantizedModel, Samples
    from ..config.config import Config
    from ..frontends.samples import Samples as FileSamples


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
    config: Config, model: IRModule, target: Target, samples: Samples | None
) -> IRModule | QuantizedModel:
    """Return the model quantized as configured; as it is where nothing is to be quantized."""
    from .. import api

    if config.scheme is None:
        return model
    return api.quantize(
        model,
        scheme=config.scheme,
        target=target,
        calibration=samples,
        options=config.options,
        progress=progress,
    )


def calibration_samples(config: Config, model: IRModule) -> FileSamples | None:
    """Return the samples that the configuration names; None where it names none."""
    from ..passes.graph import dtype_of, shape_of

    if config.calibration is None:
        return None
    return config.calibration.open(
        {param.name: (shape_of(param), dtype_of(param)) for param in model["main"].params}
    )


def print_notes(samples: FileSamples | None) -> None:
    """Say what was left out of the samples, once they have been used."""
    for note in () if samples is None else samples.notes:
        print(f"tvmc: note: {note}", file=sys.stderr)
