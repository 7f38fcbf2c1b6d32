"""``python -m tvmq.bench.sweep``: GMAC/s of single operators beside the peers, over what the CPU can do at most."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from ..errors import unknown
from . import machine
from .command import check_output, check_positive, run_command
from .engines import Settings
from .isa import ISAS, default_target, get_isa, limit_peers
from .kernels import ENGINES, Kernel, KernelEngine
from .latency import measure
from .operators import OPERATORS, Operator
from .sweep_report import Figure, OperatorReport, SweepReport, plot, show, to_json, to_markdown

if TYPE_CHECKING:
    from .peak import Loop

PEAKS = {True: "int8 peak", False: "float peak"}
"""What the two loops without memory are called among the timers: that of integers, and that of floats."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tvmq.bench.sweep", description=__doc__)
    parser.add_argument(
        "--operators",
        nargs="+",
        default=list(OPERATORS),
        metavar="NAME",
        help=f"some of: {', '.join(OPERATORS)} (rows x channels x inputs; or kernel/stride-inputs-channels-size)",
    )
    parser.add_argument(
        "--engines", nargs="+", default=list(ENGINES), metavar="NAME", help=f"some of: {'; '.join(ENGINES)}"
    )
    parser.add_argument(
        "--isa", default="native", metavar="NAME", help=f"as for python -m tvmq.bench: {', '.join(ISAS)}"
    )
    parser.add_argument("--target", help="tvmq's target, such as 'llvm -mcpu=znver3' (default: as --isa)")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each engine (default: 15)")
    parser.add_argument(
        "--output", type=Path, metavar="STEM", help="also write STEM.json, STEM.md and STEM.png"
    )
    return parser


def run_operator(
    operator: Operator,
    engines: Sequence[KernelEngine],
    loops: Mapping[bool, Loop],
    settings: Settings,
    rounds: int,
) -> OperatorReport:
    """Time the operator in each engine, and the two loops without memory, in turn.

    A peer that cannot build it is left out of the figures, with its error among the failures.

    Parameters
    ----------
    loops : the loop of integers (True), and that of floats.
    """
    built: dict[str, Kernel] = {}
    failures: dict[str, str] = {}
    for engine in engines:
        try:
            built[engine.name] = engine.build(operator, settings)
        # A peer raises whatever it meets, and its failure is a result too.
        except Exception as error:
            if not engine.is_peer:
                raise
            failures[engine.name] = f"{type(error).__name__}: {error}".splitlines()[0]
    timers = {name: kernel.timer for name, kernel in built.items()}
    timers |= {PEAKS[is_int8]: loop.timer for is_int8, loop in loops.items()}
    found = measure(timers, rounds, lambda: None)
    return OperatorReport(
        operator.name,
        operator.origin,
        operator.macs,
        {is_int8: loop.macs / found[PEAKS[is_int8]].median_ms / 1e6 for is_int8, loop in loops.items()},
        tuple(
            Figure(
                engine.name,
                engine.is_int8,
                engine.is_peer,
                engine.obeys_isa or settings.isa == "native",
                built[engine.name].isa,
                found[engine.name],
                operator.macs / found[engine.name].median_ms / 1e6,
            )
            for engine in engines
            if engine.name in built
        ),
        failures,
    )


def _loops(spec: str) -> dict[bool, Loop]:
    # Imported here: they bring TVM, which the command's help and its bad arguments must not wait for.
    from ..targets.features import row_of
    from ..targets.parse import parse_target
    from .peak import fastest_loop, instruction_of

    target = parse_target(spec)
    return {is_int8: fastest_loop(instruction_of(row_of(target), is_int8), target) for is_int8 in PEAKS}


def run(arguments: argparse.Namespace, console: Console) -> SweepReport:
    """Run what the arguments ask for.

    Raises
    ------
    TvmqError : an argument is wrong, or a peer is not installed.
    """
    check_positive(arguments, "rounds")
    check_output(arguments.output)
    for name in arguments.operators:
        if name not in OPERATORS:
            raise unknown("operator", name, OPERATORS)
    for name in arguments.engines:
        if name not in ENGINES:
            raise unknown("engine", name, ENGINES)
    engines = [engine for engine in ENGINES.values() if engine.name in arguments.engines]
    packages = [*(engine.package for engine in engines), *(["matplotlib"] if arguments.output else [])]
    versions = machine.versions(tuple(dict.fromkeys([*packages, "apache-tvm"])))
    os.environ["TVM_NUM_THREADS"] = "1"
    isa = get_isa(arguments.isa)
    limit_peers(isa)
    settings = Settings(1, arguments.target or default_target(isa), isa.name)
    before = machine.describe()
    loops = _loops(settings.target)
    reports = []
    with Progress(console=console, transient=True) as progress:
        for name in progress.track(arguments.operators, description="operators"):
            reports.append(run_operator(OPERATORS[name], engines, loops, settings, arguments.rounds))
    about = dataclasses.asdict(settings) | {"rounds": arguments.rounds}
    return SweepReport(before, versions, about, tuple(reports))


def _act(arguments: argparse.Namespace, console: Console) -> None:
    report = run(arguments, console)
    if arguments.output:
        Path(f"{arguments.output}.json").write_text(to_json(report))
        plot(report, Path(f"{arguments.output}.png"))
        Path(f"{arguments.output}.md").write_text(to_markdown(report, f"{arguments.output.name}.png"))
    show(report, console)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_command(_parser(), argv, _act)


if __name__ == "__main__":
    sys.exit(main())
