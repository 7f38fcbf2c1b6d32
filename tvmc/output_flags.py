"""The flags of ``tvmc compile`` that say what is written: a package, a C library, or a folder for a board.

-o model.tar                            mod.json and mod.so, for tvmc run and tvmq.load
-o kws --output-format c-static         libkws.a, kws.h, main.c; a tar of them where the name ends so
-o board --output-format bundle         the package's files, TVM's runtime libraries, programs
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TvmqError
from .files import check_output
from .model_flags import check_linker_flags
from .tables import counted, megabytes, typed

if TYPE_CHECKING:
    from tvm.target import Target

    from ..api import CLibrary, Package

logger = logging.getLogger(__name__)

PACKAGES = ("so", "tar")
C_STATIC, BUNDLE = "c-static", "bundle"
FORMATS = (*PACKAGES, C_STATIC, BUNDLE, "mlf")
"""The last is of the old ``tvmc``, and refused."""

DEFAULTS = {C_STATIC: Path("c-library"), BUNDLE: Path("bundle")}
"""What is written where no name is given; ``model.tar`` in other formats."""


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Add what says where the result goes, and in which form."""
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="the package to write, or the folder of a C library or bundle; a C library may be a tar too (default: "
        "model.tar, c-library or bundle)",
    )
    parser.add_argument(
        "-f",
        "--output-format",
        choices=FORMATS,
        default=FORMATS[0],
        help="so: a package; tar: the same; c-static: a C library and header that need no TVM; bundle: a folder that "
        "runs on a board without Python; mlf: of the old tvmc, refused (default: %(default)s)",
    )
    parser.add_argument(
        "--module-name",
        metavar="NAME",
        help="with c-static, what the library and its functions are named by (default: the model's file)",
    )


def check_output_flags(args: argparse.Namespace) -> None:
    """Fill in the output's name; raise ``TvmqError`` where the result cannot be written in its form."""
    from ..report.files import check_folder

    args.output = args.output or DEFAULTS.get(args.output_format, Path("model.tar"))
    if args.output_format == BUNDLE and args.output.suffix == ".tar":
        raise TvmqError(f"--output-format bundle writes a folder, and --output is {str(args.output)!r}")
    if args.output_format == BUNDLE or (args.output_format == C_STATIC and args.output.suffix != ".tar"):
        check_folder(args.output)
    else:
        check_output(args.output, args.FILE)


def check_target(args: argparse.Namespace, target: Target) -> None:
    """Raise ``TvmqError`` where what is written cannot be made for the target: no compiler, no runtime of TVM's.

    A package that only a runtime of the user's own can load is worth a warning.
    """
    from ..runtime.board import BOARDS, board_of
    from ..runtime.c_library.tools import tools_for
    from ..targets.features import arch_of, refuse_gpu, triple_of

    if args.output_format == C_STATIC:
        refuse_gpu(target, "a C library")
        tools_for(triple_of(target), args.cross_compiler, args.cross_compiler_options)
        return
    if args.output_format == BUNDLE:
        board_of(triple_of(target))
    elif arch_of(target) not in BOARDS:
        logger.warning(
            "TVM's runtime, which loads the package, does not come for %s: build it there, or make a C library "
            "(--output-format c-static)",
            arch_of(target),
        )
    check_linker_flags(args, target)


def compiler_for(args: argparse.Namespace) -> Callable[..., Package | CLibrary]:
    """Return the function that compiles to the form that the flags ask for."""
    from .. import api
    from ..runtime.c_library.tensors import c_word, check_name

    if args.output_format != C_STATIC:
        return api.compile
    name = args.module_name
    if name is None:
        name = c_word(args.FILE.stem)
        name = name if name[:1].isalpha() else f"model_{name}"
    check_name(name)
    return partial(api.compile_c_library, name=name)


def write_output(args: argparse.Namespace, made: Package | CLibrary) -> None:
    """Write what was made, and print one line about it: what it is for, its size, and how much runs on integers."""
    from ..api import Package
    from ..runtime.board import make_bundle

    metadata = made.metadata
    if isinstance(made, Package) and args.output_format == BUNDLE:
        folder = make_bundle(made, args.output, args.cross_compiler, args.cross_compiler_options)
        size = megabytes(sum(path.stat().st_size for path in folder.iterdir()))
    else:
        made.export(args.output)
        size = megabytes(args.output.stat().st_size)
    if args.output_format == C_STATIC:
        sizes = metadata["bytes"]
        size = ", ".join(f"{megabytes(sizes[part])} of {part}" for part in ("code", "weights", "workspace"))
    target, layers = typed(metadata["target"]), counted(metadata["layers"])
    print(f"{args.output}: {size}, {metadata['scheme']}, for {target}; layers: {layers}")
