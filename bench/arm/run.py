"""``python -m tvmq.bench.arm``: modelled cycles of models on ARM cores, on a machine that is none."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from ...errors import TvmqError, unknown
from ..command import check_output, check_positive, run_command
from ..subjects import NAMES, check_models, load_subject
from ..tables import show_table
from . import mca
from .cores import CORES, Core, get_core
from .emulator import check_tools, count
from .modelled import Function, Loop, functions_of, loops_of
from .peers import PEERS, Peer
from .programs import Prepare, prepare_model, prepare_package
from .tables import engine_table, function_table, note

LOOPS = 3
"""How many of a function's loops are shown."""
ALL = "all"
"""Stands for every peer."""
PACKAGE = ".tar"
"""End of a name that is a package's."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tvmq.bench.arm", description=__doc__)
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help=f"{NAMES}; or packages, *{PACKAGE}, compiled for aarch64"
    )
    parser.add_argument(
        "--cpus",
        nargs="+",
        default=["a53", "a55", "a72", "a76"],
        metavar="NAME",
        help=f"some of: {', '.join(CORES)}",
    )
    parser.add_argument(
        "--schemes",
        nargs="*",
        default=["float", "int8"],
        metavar="NAME",
        help="float, and schemes of quantization",
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        default=[],
        metavar="NAME",
        help=f"{ALL}, or some of: {'; '.join(PEERS)} (default: none)",
    )
    parser.add_argument(
        "--by-kernel", action="store_true", help="also a table of the functions of each engine"
    )
    parser.add_argument(
        "--loops", metavar="FUNCTION", help="also the three loops of a function that take most cycles"
    )
    parser.add_argument("--top", type=int, default=20, help="functions in that table (default: 20)")
    parser.add_argument(
        "--count-only",
        action="store_true",
        help="model no cycles: instructions and bytes, which need no LLVM",
    )
    parser.add_argument(
        "--runs", type=int, default=1, help="of the model that are counted, behind two others (default: 1)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="STEM", help="also write the tables to STEM-MODEL-CPU.md"
    )
    return parser


def _peers(names: Sequence[str]) -> list[Peer]:
    for name in names:
        if name not in (ALL, *PEERS):
            raise unknown("peer", name, PEERS)
    return [peer for name, peer in PEERS.items() if name in names or ALL in names]


def _contenders(arguments: argparse.Namespace, model: str) -> dict[str, Prepare]:
    """Return the engines that run a model, by name; packages have no peers."""
    if model.endswith(PACKAGE):
        return {Path(model).stem: partial(prepare_package, Path(model))}
    subject = load_subject(model, limit=1)
    contenders: dict[str, Prepare] = {
        f"tvmq {scheme}": partial(prepare_model, subject, scheme) for scheme in arguments.schemes
    }
    return contenders | {peer.name: partial(peer.prepare, subject) for peer in _peers(arguments.peers)}


@dataclass(frozen=True)
class Measured:
    """One run of a model with an engine on a core.

    Attributes
    ----------
    functions : what takes most first.
    macs : multiply-adds by function, where they are known.
    loops : of the function that was asked for.
    """

    functions: list[Function]
    macs: dict[str, float]
    loops: list[Loop]


def measure(prepare: Prepare, core: Core, runs: int, count_only: bool, loops: str | None = None) -> Measured:
    """Count and model one run.

    Parameters
    ----------
    runs : of which it is the mean.
    count_only : model no cycles.
    loops : function whose loops are wanted.

    Raises
    ------
    TvmqError : whatever the model or a missing tool is at fault for.
    """
    with tempfile.TemporaryDirectory(prefix="tvmq-") as folder:
        program, macs = prepare(core, Path(folder))
        counts = count(program, core, runs=(2, 2 + runs))
        # Here, since the folder has the files that the symbols are in.
        functions = functions_of(counts, core, with_cycles=not count_only)
        return Measured(functions, macs, loops_of(counts, core, loops, LOOPS) if loops else [])


def _act(arguments: argparse.Namespace, console: Console) -> None:
    check_positive(arguments, "runs", "top")
    check_output(arguments.output)
    check_models(name for name in arguments.models if not name.endswith(PACKAGE))
    cores = [get_core(name) for name in arguments.cpus]
    _peers(arguments.peers)
    check_tools()
    if not arguments.count_only or arguments.loops:
        mca.check_tools()
    for model in arguments.models:
        contenders = _contenders(arguments, model)
        for core in cores:
            results = {}
            for engine, prepare in contenders.items():
                try:
                    with console.status(f"{model} on {core.name}: {engine}"):
                        results[engine] = measure(
                            prepare, core, arguments.runs, arguments.count_only, arguments.loops
                        )
                except TvmqError as error:
                    if engine not in PEERS:
                        raise
                    console.print(f"{engine}: {error}", markup=False)
            _show(model, core, results, arguments, console)


def _show(
    model: str, core: Core, results: dict[str, Measured], arguments: argparse.Namespace, console: Console
) -> None:
    stem = arguments.output and Path(f"{arguments.output}-{Path(model).stem}-{core.name}")
    about = [f"{model} on {core.cpu}, one thread, one run", note(core)]
    rows = {engine: result.functions for engine, result in results.items()}
    show_table(engine_table(rows, core, list(PEERS)), about, console, stem)
    for engine, result in results.items():
        if arguments.by_kernel:
            table = function_table(result.functions, result.macs, arguments.top)
            where = stem and Path(f"{stem}-{engine.replace(' ', '-')}")
            show_table(table, [f"{engine}: {model} on {core.cpu}"], console, where)
        for loop in result.loops:
            console.print(
                f"{engine}, {arguments.loops}: {len(loop.lines)} instructions in {loop.cycles:.1f} cycles, "
                f"{loop.executions:.0f} times, {loop.executions * loop.cycles / 1e6:.3f} Mcycles"
            )
            console.print("\n".join(f"    {line}" for line in loop.lines), markup=False, highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_command(_parser(), argv, _act, width=200)
