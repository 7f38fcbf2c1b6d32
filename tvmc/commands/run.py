"""``tvmc run``: run a package, here or on a device, and show its outputs and times."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ...errors import TvmqError
from .. import arguments
from ..files import check_output, write_npz
from ..inputs import FILL_MODES, check_sizes, make_inputs
from ..old.flags import add_old_flags, say
from ..old.table import NO_MICRO, RUN
from ..run_tables import print_profile, print_times, print_top
from ..running import check_device, numbered, open_package, times_of

OLD_DEVICES = ("cl", "metal", "vulkan", "rocm")
"""Devices of the old ``tvmc`` that there are no kernels for."""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add this command to the command line and return its parser."""
    parser = subparsers.add_parser(
        "run",
        help="run a package",
        description="Run a package that tvmc compile wrote. TVM_NUM_THREADS limits its threads.",
        usage="tvmc run [options] FILE",
        allow_abbrev=False,
    )
    parser.add_argument("FILE", type=Path, nargs="?", help="the package")
    parser.add_argument("-i", "--inputs", type=Path, metavar="NPZ", help="an array for each input, by name")
    parser.add_argument(
        "-o", "--outputs", type=Path, metavar="NPZ", help="where to write the outputs, by name"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="NPZ",
        help="the same, and each output also as output_0, output_1, ..., as the old tvmc called them",
    )
    parser.add_argument(
        "--fill-mode",
        choices=FILL_MODES,
        help="fills inputs that are not given (default without --inputs: random)",
    )
    parser.add_argument(
        "--sizes",
        type=arguments.sizes,
        default={},
        metavar="SIZES",
        help="sizes of open dimensions, for inputs that are filled: 'N=1,S=128' (default: the greatest)",
    )
    parser.add_argument(
        "--device",
        type=_device,
        metavar="DEVICE",
        help="where to run, cpu or cuda (default: what the package is for)",
    )
    parser.add_argument("--print-time", "--benchmark", action="store_true", help="time the model")
    parser.add_argument(
        "--end-to-end",
        action="store_true",
        help="with --print-time: checking and copying of inputs and outputs count too",
    )
    parser.add_argument(
        "--repeat",
        type=arguments.positive,
        default=1,
        metavar="N",
        help="times to take (default: %(default)s)",
    )
    parser.add_argument(
        "--number",
        type=arguments.count,
        default=1,
        metavar="N",
        help="runs in each time (default: %(default)s)",
    )
    parser.add_argument(
        "--print-top", type=arguments.positive, metavar="N", help="show the N largest outputs"
    )
    parser.add_argument("--profile", action="store_true", help="show the time of each layer")
    parser.add_argument(
        "--rpc-tracker",
        type=arguments.host_and_port,
        metavar="HOST[:PORT]",
        help="run on a device of this tracker (default port: 9090); without --rpc-key, on the server that is there",
    )
    parser.add_argument("--rpc-key", metavar="KEY", help="the device's name at the tracker")
    add_old_flags(parser, RUN)
    return parser


def run(args: argparse.Namespace) -> None:
    """Run as the arguments say.

    Raises
    ------
    TvmqError : the package or the inputs cannot be read, the inputs don't fit, the outputs cannot be
        written, or the device cannot be reached.
    """
    say(RUN, vars(args))
    if args.print_time and not args.number:
        raise TvmqError("--print-time needs --number of at least 1")
    files = [path for path in (args.outputs, args.output) if path is not None]
    for path in files:
        check_output(path, args.inputs)
    with open_package(args.FILE, args.rpc_tracker, args.rpc_key, args.profile) as package:
        _run(package, args)


def _run(package: Any, args: argparse.Namespace) -> None:
    check_device(args.device, package.metadata)
    check_sizes(args.sizes, package.metadata.get("dimensions", {}))
    inputs = make_inputs(package.metadata["inputs"], args.inputs, args.fill_mode, args.sizes)
    outputs = package.run(inputs)
    if args.outputs is not None:
        write_npz(args.outputs, outputs)
    if args.output is not None:
        write_npz(args.output, {**numbered(outputs), **outputs})
    if args.print_top is not None:
        for name, array in outputs.items():
            print_top(name, array, args.print_top)
    if args.print_time:
        print_times(times_of(package, inputs, args.number, args.repeat, args.end_to_end))
    if args.profile:
        print_profile(package.profile(inputs), package.metadata["layers"])


def _device(text: str) -> str:
    if text in ("cpu", "cuda"):
        return text
    if text == "micro":
        raise argparse.ArgumentTypeError(f"'micro': {NO_MICRO}")
    if text in OLD_DEVICES:
        raise argparse.ArgumentTypeError(f"{text!r} is not supported: packages are for 'cpu' or 'cuda'")
    raise argparse.ArgumentTypeError(f"{text!r} must be 'cpu' or 'cuda'")
