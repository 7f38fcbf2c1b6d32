"""What ``tvmc compile`` writes: the package, or a folder with all that runs it on a board without Python."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import check_output
from .old.flags import say
from .old.table import OUTPUT_FORMAT

if TYPE_CHECKING:
    from ..runtime.package import Package

BUNDLE = "bundle"
DEFAULT_OUTPUTS = {BUNDLE: Path("bundle")}
"""What is written where no name is given; ``model.tar`` in other formats."""


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Add the output's name and its format."""
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="the package to write, or the bundle's folder (default: model.tar, or bundle)",
    )
    parser.add_argument(
        *(OUTPUT_FORMAT.alias, OUTPUT_FORMAT.name),
        **OUTPUT_FORMAT.shape,
        help="so: one file for tvmc run and tvmq.load; bundle: a folder that runs on a board without Python, with "
        "programs and TVM's runtime (default: so; tar is the same)",
    )


def say_output_format(values: Mapping[str, Any], *, keywords: bool = False) -> None:
    """Say what becomes of an old format, as ``old.flags.say`` does; raises ``TvmqError`` for one that is refused."""
    say((OUTPUT_FORMAT,), values, keywords=keywords)


def output_of(args: argparse.Namespace) -> Path:
    """Return what is to be written; raises ``TvmqError`` where that cannot be."""
    from ..report.files import check_folder

    output = args.output or DEFAULT_OUTPUTS.get(args.output_format, Path("model.tar"))
    if args.output_format == BUNDLE:
        check_folder(output)
    else:
        check_output(output, args.FILE)
    return output


def write_output(package: Package, output: Path, output_format: str) -> int:
    """Write the package in the format and return its size in bytes; errors as ``export`` and ``make_bundle``."""
    if output_format != BUNDLE:
        package.export(output)
        return output.stat().st_size
    from ..runtime.board import make_bundle

    return sum(path.stat().st_size for path in make_bundle(package, output).iterdir())
