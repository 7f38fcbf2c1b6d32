"""``tvmc run``: run a package, and show its outputs and times."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import arguments
from ..files import check_output, write_npz
from ..inputs import FILL_MODES, make_inputs
from ..tables import print_table

if TYPE_CHECKING:
    import numpy as np

    from ...runtime.engine import KernelTime

DEVICES = ("cpu",)


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add this command to the command line and return its parser."""
    parser = subparsers.add_parser(
        "run",
        help="run a package",
        description="Run a package that tvmc compile wrote. TVM_NUM_THREADS limits its threads.",
        usage="tvmc run [options] FILE",
        allow_abbrev=False,
    )
    parser.add_argument("FILE", type=Path, help="the package")
    parser.add_argument("-i", "--inputs", type=Path, metavar="NPZ", help="an array for each input, by name")
    parser.add_argument(
        "-o", "--outputs", type=Path, metavar="NPZ", help="where to write the outputs, by name"
    )
    parser.add_argument(
        "--fill-mode",
        choices=FILL_MODES,
        help="fills inputs that are not given (default without --inputs: random)",
    )
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu", help="where to run (default: %(default)s)"
    )
    parser.add_argument("--print-time", action="store_true", help="time the model")
    parser.add_argument(
        "--repeat",
        type=arguments.positive,
        default=1,
        metavar="N",
        help="times to take (default: %(default)s)",
    )
    parser.add_argument(
        "--number",
        type=arguments.positive,
        default=1,
        metavar="N",
        help="runs in each time (default: %(default)s)",
    )
    parser.add_argument(
        "--print-top", type=arguments.positive, metavar="N", help="show the N largest outputs"
    )
    parser.add_argument("--profile", action="store_true", help="show the time of each layer")
    return parser


def run(args: argparse.Namespace) -> None:
    """Run as the arguments say.

    Raises
    ------
    TvmqError : the package or the inputs cannot be read, the inputs don't fit, or the outputs cannot be
        written.
    """
    from ...runtime.package import load

    if args.outputs is not None:
        check_output(args.outputs, args.inputs)
    package = load(args.FILE)
    inputs = make_inputs(package.metadata["inputs"], args.inputs, args.fill_mode)
    outputs = package.run(inputs)
    if args.outputs is not None:
        write_npz(args.outputs, outputs)
    if args.print_top is not None:
        for name, array in outputs.items():
            _print_top(name, array, args.print_top)
    if args.print_time:
        _print_times(package.time(inputs, number=args.number, repeat=args.repeat))
    if args.profile:
        _print_profile(package.profile(inputs))


def _print_top(name: str, array: np.ndarray, count: int) -> None:
    """Print the largest elements with their indices; axes of one element are left out of an index."""
    import numpy as np

    values = array.squeeze()
    order = np.argsort(-values, axis=None, kind="stable")[:count]
    places = zip(*np.unravel_index(order, values.shape), strict=True) if values.shape else [()]
    rows = [(",".join(map(str, place)), f"{values[place]:g}") for place in places]
    print_table(f"output {name}", (">index", ">value"), rows)


def _print_times(seconds: Sequence[float]) -> None:
    """Print statistics of the times, in milliseconds."""
    times = [1e3 * value for value in seconds]
    row = (statistics.mean(times), statistics.median(times), max(times), min(times), statistics.pstdev(times))
    columns = (">mean (ms)", ">median (ms)", ">max (ms)", ">min (ms)", ">std (ms)")
    print_table("Execution time", columns, [[f"{value:.4f}" for value in row]])


def _print_profile(times: Sequence[KernelTime]) -> None:
    """Print the time of each kernel call, in the order of the calls."""
    total = sum(row.seconds for row in times) or 1.0
    rows = [
        (", ".join(row.layers), row.kernel, f"{1e3 * row.seconds:.4f}", f"{100 * row.seconds / total:.1f}")
        for row in times
    ]
    rows.append(("total", "", f"{1e3 * total:.4f}", "100.0"))
    print_table("Time by layer", ("layers", "kernel", ">ms", ">%"), rows)
