"""What the commands of ``bench`` share: checks of arguments, and how a run ends."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from ..errors import TvmqError

Action = Callable[[argparse.Namespace, Console], None]
"""Does what the arguments ask for, and shows it."""


def run_command(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, action: Action, width: int = 120
) -> int:
    """Run a command line and return its exit code; ``width`` is that of what goes to no terminal."""
    arguments = parser.parse_args(argv)
    try:
        action(arguments, Console(width=None if sys.stdout.isatty() else width))
    except TvmqError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    return 0


def check_positive(arguments: argparse.Namespace, *names: str) -> None:
    """Refuse, by a ``TvmqError``, a number below 1 among these arguments."""
    for name in names:
        if getattr(arguments, name) < 1:
            raise TvmqError(f"--{name} {getattr(arguments, name)}: expected a positive number")


def check_output(stem: Path | None) -> None:
    """Refuse, by a ``TvmqError``, an output that could not be written in the end."""
    folder = stem.parent if stem else Path()
    if not os.access(folder, os.W_OK):
        raise TvmqError(f"--output {stem}: {folder} is no folder that can be written to")
