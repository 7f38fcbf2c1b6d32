"""``--target-llvm-mcpu`` and its like: one flag for each attribute of a kind of target."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .old.targets import current_target
from .tables import print_table

if TYPE_CHECKING:
    from tvm.target import Target

# The attributes that TVM declares and a user may set. A table, because asking TVM takes seconds.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "llvm": (
        "cl-opt",
        "device",
        "fast-math",
        "fast-math-arcp",
        "fast-math-contract",
        "fast-math-ninf",
        "fast-math-nnan",
        "fast-math-nsz",
        "fast-math-reassoc",
        "jit",
        "keys",
        "libs",
        "mabi",
        "mattr",
        "mcpu",
        "mfloat-abi",
        "model",
        "mtriple",
        "num-cores",
        "opt-level",
        "vector-width",
    ),
    "cuda": ("arch",),
}

_DESCRIPTIONS = {
    "llvm": "attributes that replace those of --target, or of a GPU's host; a value with a sign needs =, as in "
    "--target-llvm-mattr=+dotprod",
    "cuda": "attributes that replace those of --target",
}

_ALONE = ("mcpu", "mattr", "mtriple", "mabi", "mfloat-abi", "num-cores", "arch")
"""Attributes that may also stand on the command line as they stand in a target: ``--target llvm -mcpu=znver3``."""


class _ListTargets(argparse.Action):
    """Prints what there are kernels for, and ends the program, as ``--help`` does."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ..targets.rows import GPU_ROWS, ROWS

        rows = [
            (row.arch, row.name, ", ".join(row.features), row.activation_dtype, f"{row.vector_bits}")
            for row in ROWS
        ]
        columns = ("architecture", "kernels", "CPU features", "activations", ">vector bits")
        print_table("Targets: llvm, for a CPU with these features", columns, rows)
        gpus = [
            (row.name, ", ".join(f"{bits}-bit" for bits in row.gpu.matrix_bits) or "none, dp4a")
            for row in GPU_ROWS
            if row.gpu is not None
        ]
        title = "Targets: cuda, for a GPU (-arch) from this capability on"
        print_table(title, ("kernels", "matrix products"), gpus)
        parser.exit()


def add_target_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each attribute; ``--target`` itself is among the options of ``config.table``."""
    parser.add_argument(
        "--list-target",
        "--list-targets",
        "--dump-targets",
        action=_ListTargets,
        help="show what there are kernels for, and exit",
    )
    for kind, attributes in ATTRIBUTES.items():
        group = parser.add_argument_group(f"target {kind}", _DESCRIPTIONS[kind])
        for name in attributes:
            names = [f"--target-{kind}-{name}", *([f"-{name}"] if name in _ALONE else [])]
            group.add_argument(*names, dest=_dest(kind, name), metavar="VALUE")


def target_from(args: argparse.Namespace, target: str | None) -> Target:
    """Return the checked target, with the attributes that flags replace; None is this machine.

    Raises
    ------
    TvmqError : as ``parse_target`` and ``row_of`` do.
    """
    from ..targets.features import row_of
    from ..targets.parse import parse_target

    # Only kinds in the table have flags, and their targets are the only ones that have kernels: no two share a name.
    overrides = {
        name: getattr(args, _dest(kind, name))
        for kind, attributes in ATTRIBUTES.items()
        for name in attributes
    }
    named = current_target(target, args.other_target_flags)
    parsed = parse_target(named or "llvm", **overrides)
    row_of(parsed)
    return parsed


def _dest(kind: str, name: str) -> str:
    return f"target_{kind}_{name}"
