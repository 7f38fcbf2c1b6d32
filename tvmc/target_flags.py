"""``--target-llvm-mcpu`` and its like: one flag for each attribute of a kind of target."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

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
}


def add_target_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each attribute; ``--target`` itself is among the options of ``config.table``."""
    for kind, attributes in ATTRIBUTES.items():
        group = parser.add_argument_group(
            f"target {kind}",
            f"attributes that replace those of --target; a value with a sign needs =, as in "
            f"--target-{kind}-mattr=+dotprod",
        )
        for name in attributes:
            group.add_argument(f"--target-{kind}-{name}", dest=_dest(kind, name), metavar="VALUE")


def target_from(args: argparse.Namespace, target: str | None) -> Target:
    """Return the checked target, with the attributes that flags replace; None is this machine.

    Raises
    ------
    TvmqError : as ``parse_target`` and ``row_of`` do.
    """
    from ..targets.features import row_of
    from ..targets.parse import parse_target

    # Only kinds in the table have flags, and their targets are the only ones that have kernels.
    overrides = {
        name: getattr(args, _dest(kind, name))
        for kind, attributes in ATTRIBUTES.items()
        for name in attributes
    }
    parsed = parse_target(target or "llvm", **overrides)
    row_of(parsed)
    return parsed


def _dest(kind: str, name: str) -> str:
    return f"target_{kind}_{name}"
