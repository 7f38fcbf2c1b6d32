"""``tvmc``: the arguments, and the one place where errors become messages and exit codes.

Exit codes: 0 done, 1 an error, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib.metadata import version

from ..errors import TvmqError
from .commands import compile as compile_command
from .commands import inspect as inspect_command
from .commands import micro as micro_command
from .commands import quantize as quantize_command
from .commands import run as run_command
from .commands import tune as tune_command
from .old.config import behind_command
from .parser import CommandParser
from .progress import NotesAboveBars

INTERRUPTED = 130  # 128 + SIGINT, as shells report it

COMMANDS = (compile_command, quantize_command, tune_command, run_command, inspect_command, micro_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    argv : the arguments; None takes the process's own.

    Raises
    ------
    SystemExit : after ``--help`` and ``--version``, and with code 2 for wrong usage, as argparse does.
    """
    args = make_parser().parse_args(behind_command(sys.argv[1:] if argv is None else argv))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A user's layer names must not fail on a terminal that lacks their characters.
        sys.stdout.reconfigure(errors="backslashreplace")
    level = logging.INFO if args.verbose else logging.ERROR
    logging.basicConfig(level=level, format="tvmc: note: %(message)s", handlers=[NotesAboveBars()])
    logging.getLogger(__package__.partition(".")[0]).setLevel(
        logging.INFO if args.verbose else logging.WARNING
    )
    if not args.verbose:
        warnings.simplefilter("ignore")
    try:
        args.run(args)
        sys.stdout.flush()
    except TvmqError as error:
        return _fail(str(error), args.verbose)
    except KeyboardInterrupt:
        return _fail("interrupted", args.verbose, INTERRUPTED)
    except BrokenPipeError:
        # The reader has seen enough. What is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        from ..passes.hub.tvm_messages import plain

        hint = "" if args.verbose else " (not an error of the input that tvmc knows: -v shows where)"
        return _fail(f"{type(error).__name__}: {plain(error)}{hint}", args.verbose)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="tvmc", description="Quantize, compile and run models with Apache TVM.", allow_abbrev=False
    )
    parser.add_argument(
        "--version", action="version", version=f"tvmc {version('tvmq')} (TVM {version('apache-tvm')})"
    )
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="show tracebacks and TVM's messages"
    )
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=CommandParser
    )
    for command in COMMANDS:
        subparser = command.add_parser(subparsers)
        # A subparser's default would overwrite what stands before the command's name.
        subparser.add_argument(
            "-v",
            "--verbose",
            action="count",
            default=argparse.SUPPRESS,
            help="show tracebacks and TVM's messages",
        )
        subparser.set_defaults(run=command.run)
    return parser


def _fail(message: str, verbose: int, code: int = 1) -> int:
    """Print the message as one line, with the traceback before it where wanted, and return the exit code."""
    if verbose:
        traceback.print_exc()
    print("tvmc: error:", " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
