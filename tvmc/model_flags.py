"""The flags that name the model and the linker, and the model that all flags together describe."""

from __future__ import annotations

import argparse
import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TvmqError, unknown
from . import arguments
from .old.formats import check_format
from .old.passes import current_config
from .progress import progress

if TYPE_CHECKING:
    from tvm import IRModule
    from tvm.target import Target

    from ..api import QuantizedModel
    from ..config.config import Config
    from ..given import Samples

logger = logging.getLogger(__name__)


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add the model's file and the shapes of its inputs."""
    parser.add_argument("FILE", type=Path, nargs="?", help="the model: an ONNX or TFLite file")
    parser.add_argument(
        "--input-shapes",
        type=arguments.input_shapes,
        metavar="SHAPES",
        help="shapes of inputs that the model leaves open: 'x:[1,3,224,224] y:[1,2]', or by the names of dimensions: "
        "'N=1,S=128'; with a range, as in 'ids:[1,1..512]' or 'S=1..512', the dimension stays open",
    )
    parser.add_argument(
        "--input-dtypes",
        type=arguments.input_dtypes,
        metavar="DTYPES",
        help="dtypes of inputs that the model leaves open: 'x:float32 ids:int64'",
    )
    parser.add_argument(
        "--bind",
        type=arguments.binding,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="make an input a constant, a number or a JSON list: --bind sr=16000; repeatable",
    )
    parser.add_argument(
        "--outputs",
        type=arguments.names,
        metavar="NAMES",
        help="end the model at these values or nodes, in place of its own outputs",
    )
    parser.add_argument(
        "--tflite-exact",
        action="store_true",
        help="of a TFLite model: compute the integers that TFLite's reference kernels compute, bit by bit",
    )


def add_linker_flags(parser: argparse.ArgumentParser) -> None:
    """Add the compiler that links for another machine, and its options."""
    parser.add_argument(
        "--cross-compiler",
        metavar="COMPILER",
        help="links for another machine (default: the usual one of the target, such as aarch64-linux-gnu-g++)",
    )
    parser.add_argument(
        "--cross-compiler-options",
        type=shlex.split,
        default=[],
        metavar="OPTIONS",
        help="further options for the compiler that links, with =, as in --cross-compiler-options='-static-libgcc -O2'",
    )


def check_linker_flags(args: argparse.Namespace, target: Target) -> None:
    """Raise ``TvmqError`` where there is no compiler that links for the target."""
    from ..runtime.compilers import linker_for
    from ..targets.features import triple_of

    linker_for(triple_of(target), args.cross_compiler, args.cross_compiler_options)


def add_pass_flags(parser: argparse.ArgumentParser) -> None:
    """Add the options of TVM's own passes."""
    parser.add_argument(
        "--pass-config",
        type=arguments.pass_config,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of TVM's passes, such as tirx.disable_vectorize=true; repeatable",
    )


def pass_config_of(args: argparse.Namespace) -> tuple[tuple[str, Any], ...]:
    """Return what ``--pass-config`` says; raises ``TvmqError`` as ``known_pass_config`` does."""
    return known_pass_config(args.pass_config)


def known_pass_config(given: Sequence[tuple[str, Any]]) -> tuple[tuple[str, Any], ...]:
    """Return options of TVM's passes by the names that they have now.

    Raises
    ------
    TvmqError : TVM knows no such option, or no such value of it.
    """
    from tvm.ir.transform import PassContext

    known = [str(name) for name in PassContext.list_configs()]
    pairs = current_config(given, known)
    for name, _ in pairs:
        if name not in known:
            raise unknown("option of TVM's passes (--pass-config)", name, known)
    try:
        PassContext(config=dict(pairs))
    except (AttributeError, TypeError, ValueError) as error:
        raise TvmqError(f"bad value in --pass-config: {error}") from error
    return tuple(pairs)


def import_model(args: argparse.Namespace) -> IRModule:
    """Return the model; raises ``TvmqError`` where it cannot be read or has operators that are not known."""
    check_format(args.FILE, args.model_format)
    from ..frontends.files import load_model

    with progress("import", None):
        return load_model(
            args.FILE, args.input_shapes, dict(args.bind), args.outputs, args.input_dtypes, args.tflite_exact
        )


def quantized(
    config: Config, model: IRModule, target: Target, calibration: Samples | None
) -> IRModule | QuantizedModel:
    """Return the model quantized as configured; as it is where nothing is to be quantized."""
    from .. import api

    if config.scheme is None:
        return model
    arguments = {**config.arguments(), "target": target, "calibration": calibration, "progress": progress}
    if config.accuracy is None:
        return api.quantize(model, **arguments)
    return _accurate(config, model, arguments)


def _accurate(config: Config, model: IRModule, arguments: dict[str, Any]) -> QuantizedModel:
    """Return the model quantized so that it keeps its accuracy on the labelled data."""
    from .. import api
    from ..passes.hub.graph import input_specs
    from ..passes.hub.schemes import get_scheme
    from ..search.metrics import Top1

    pairs = config.accuracy.open(input_specs(model))
    metric = Top1(pairs, f"top-1 on {config.accuracy.path}", progress, config.accuracy_output)
    search = config.search or api.SearchOptions()
    if get_scheme(config.scheme).searched and not search.has_budget:
        search = replace(search, metric=metric, max_drop=config.max_drop)
        quantized = api.quantize(model, **{**arguments, "search": search})
    else:
        arguments = {**arguments, "max_drop": config.max_drop, "state": search.state}
        controlled = api.quantize_with_accuracy_control(model, metric, **arguments)
        reverted = f"; back to float: {', '.join(controlled.reverted)}" if controlled.reverted else ""
        print(f"top-1: {controlled.value:.2f} %, float {controlled.reference:.2f} %{reverted}")
        quantized = controlled.model
    for note in pairs.notes:
        logger.warning(note)
    return quantized
