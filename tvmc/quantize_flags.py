"""The flags that say how to quantize and what to calibrate with."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TvmqError
from ..passes.schemes import get_scheme
from . import arguments

if TYPE_CHECKING:
    from ..frontends.images import ImageOptions
    from ..passes.options import QuantizeOptions

# Flags of an image's preprocessing: name -> (parser of the value, help).
_IMAGE_FLAGS: dict[str, tuple[Callable[[str], Any], str]] = {
    "size": (
        arguments.size,
        "resize: N is the short side, H,W exactly so (default: as the model's input covers)",
    ),
    "scale": (float, "factor on the 8-bit pixels (default: 1/255)"),
    "mean": (arguments.numbers, "subtracted from the scaled pixels, one value or one a channel"),
    "std": (arguments.numbers, "divides what is left, one value or one a channel"),
    "layout": (str.upper, "NCHW or NHWC (default: told by the model's input)"),
    "color": (str.lower, "rgb or bgr (default: rgb)"),
}

_NEED_QUANTIZE = (
    "calibration_data",
    "observer",
    "weight_observer",
    "per_tensor",
    "activations",
    "skip_layers",
    "skip_ops",
    "quantize_only",
    "no_bias_correction",
    "no_pair_safe_weights",
    "no_quantize_first",
    "no_quantize_last",
)


def add_quantize_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--quantize`` and what goes with it."""
    group = parser.add_argument_group("quantization")
    group.add_argument("--quantize", metavar="SCHEME", help="quantize to this scheme, such as int8")
    group.add_argument(
        "--calibration-data",
        type=Path,
        metavar="PATH",
        help="an .npz (one array an input, first axis the samples), a folder of .npy or .npz files, "
        "a folder of images, or a .txt that lists images",
    )
    group.add_argument(
        "--calibration-samples",
        type=arguments.positive,
        metavar="N",
        help="use the first N samples (default: all)",
    )
    group.add_argument("--observer", metavar="NAME", help="how ranges of activations are chosen")
    group.add_argument("--weight-observer", metavar="NAME", help="how ranges of weights are chosen")
    group.add_argument(
        "--per-tensor", action="store_true", help="one weight scale a tensor, not one a channel"
    )
    group.add_argument(
        "--activations", metavar="KIND", help="asymmetric or symmetric (default: the scheme's)"
    )
    for flag, text in (
        ("--skip-layers", "ONNX nodes that stay in float, by name or pattern"),
        ("--skip-ops", "ONNX operators that stay in float"),
        ("--quantize-only", "quantize these ONNX nodes and no others, by name or pattern"),
    ):
        group.add_argument(
            flag,
            type=arguments.names,
            action="extend",
            default=[],
            metavar="NAMES",
            help=f"{text}; comma separated, repeatable",
        )
    group.add_argument(
        "--no-bias-correction",
        action="store_true",
        help="leave the mean error that rounding the weights makes in the biases",
    )
    group.add_argument(
        "--no-pair-safe-weights",
        action="store_true",
        help="keep all 8 bits of the weights on CPUs whose fast multiply could then saturate, and take a slower one",
    )
    group.add_argument(
        "--no-quantize-first", action="store_true", help="the first weighted layer stays in float"
    )
    group.add_argument(
        "--no-quantize-last", action="store_true", help="the last weighted layer stays in float"
    )
    images = parser.add_argument_group("images as calibration data")
    for name, (kind, text) in _IMAGE_FLAGS.items():
        images.add_argument(f"--image-{name}", type=kind, metavar=name.upper(), help=text)


def check_quantize_flags(args: argparse.Namespace) -> None:
    """Raise ``TvmqError`` for a flag with a bad value, or with no effect for want of another flag."""
    of_data = ("calibration_samples", *(f"image_{name}" for name in _IMAGE_FLAGS))
    if args.quantize is None:
        _refuse(args, (*_NEED_QUANTIZE, *of_data), "--quantize")
    if args.calibration_data is None:
        _refuse(args, of_data, "--calibration-data")
    if args.quantize is not None:
        get_scheme(args.quantize)
        quantize_options(args)
        image_options(args)


def quantize_options(args: argparse.Namespace) -> QuantizeOptions:
    """Return the options that the flags give; raises ``TvmqError`` for an unknown value."""
    from ..passes.options import QuantizeOptions

    return QuantizeOptions(
        observer=args.observer,
        weight_observer=args.weight_observer,
        per_channel=False if args.per_tensor else None,
        activations=args.activations,
        skip_layers=tuple(args.skip_layers),
        skip_ops=tuple(args.skip_ops),
        quantize_only=tuple(args.quantize_only),
        correct_bias=not args.no_bias_correction,
        pair_safe_weights=not args.no_pair_safe_weights,
        quantize_first=not args.no_quantize_first,
        quantize_last=not args.no_quantize_last,
    )


def image_options(args: argparse.Namespace) -> ImageOptions | None:
    """Return the options that the ``--image-`` flags give, None without any; raises ``TvmqError``."""
    from ..frontends.images import ImageOptions

    given = {name: getattr(args, f"image_{name}") for name in _IMAGE_FLAGS}
    given = {name: value for name, value in given.items() if value is not None}
    return ImageOptions(**given) if given else None


def _refuse(args: argparse.Namespace, names: tuple[str, ...], without: str) -> None:
    """Raise ``TvmqError`` for the first of these flags that is given."""
    for name in names:
        if getattr(args, name) not in (None, False, []):
            raise TvmqError(f"--{name.replace('_', '-')} has no effect without {without}")
