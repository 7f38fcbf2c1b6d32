"""``tvmc micro``, of the old ``tvmc``: refused."""

from __future__ import annotations

import argparse

from ...errors import TvmqError
from ..old.table import NO_MICRO


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add this command, unseen among the others in the help, and return its parser."""
    parser = subparsers.add_parser("micro")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    return parser


def run(args: argparse.Namespace) -> None:
    """Raise ``TvmqError``."""
    raise TvmqError(f"tvmc micro: {NO_MICRO}")
