"""``python -m tvmq.bench.scaling``: how much faster models run on more threads."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from ..errors import TvmqError, unknown
from . import machine
from .command import check_output, check_positive, run_command
from .engines import Engine, Settings, folder_for
from .isa import ISAS, default_target, get_isa, limit_peers
from .latency import Latency, measure, timer_of
from .report import facts
from .run import ENGINES
from .subjects import NAMES, Subject, check_models, load_subject
from .tables import Table, show_table


@dataclass(frozen=True)
class Row:
    """One engine on one model.

    Attributes
    ----------
    model, engine : their names.
    latencies : number of threads to what was measured, the fewest threads first.
    """

    model: str
    engine: str
    latencies: dict[int, Latency]

    def speed_up(self, threads: int) -> float:
        """Return how many times faster it is than on the fewest threads."""
        fewest = next(iter(self.latencies.values()))
        return fewest.median_ms / self.latencies[threads].median_ms


@dataclass(frozen=True)
class ScalingReport:
    """A whole run; the fields are those of ``report.Report``."""

    machine: dict[str, object]
    versions: dict[str, str]
    settings: dict[str, object]
    rows: tuple[Row, ...]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tvmq.bench.scaling", description=__doc__)
    parser.add_argument(
        "--models", nargs="+", default=["mobilenetv2", "resnet50"], metavar="NAME", help=NAMES
    )
    parser.add_argument(
        "--engines",
        nargs="+",
        default=["tvmq float", "tvmq int8"],
        metavar="NAME",
        help=f"some of: {'; '.join(ENGINES)} (default: tvmq's two)",
    )
    parser.add_argument(
        "--threads",
        nargs="+",
        type=int,
        default=[1, 2],
        metavar="N",
        help="numbers to compare (default: 1 2)",
    )
    parser.add_argument(
        "--isa", default="native", metavar="NAME", help=f"as for python -m tvmq.bench: {', '.join(ISAS)}"
    )
    parser.add_argument("--target", help="tvmq's target, such as 'llvm -mcpu=znver3' (default: as --isa)")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each engine (default: 30)")
    parser.add_argument("--output", type=Path, metavar="STEM", help="also write STEM.json and STEM.md")
    return parser


def run_model(
    subject: Subject, engines: Sequence[Engine], threads: Sequence[int], settings: Settings, rounds: int
) -> list[Row]:
    """Build the model with every engine for every number of threads, and time all of them in turn."""
    timers = {}
    for engine in engines:
        # The quantized model is the same for any number of threads.
        folder = folder_for(engine, subject, settings)
        for count in sorted(set(threads)):
            target = f"{settings.target} -num-cores={count}"
            built = engine.build(subject, dataclasses.replace(settings, threads=count, target=target), folder)
            timers[engine.name, count] = timer_of(built.run, subject.data.samples[:1])
    found = measure(
        {f"{name} on {count}": timer for (name, count), timer in timers.items()}, rounds, lambda: None
    )
    return [
        Row(
            subject.model.name,
            engine.name,
            {count: found[f"{engine.name} on {count}"] for count in sorted(set(threads))},
        )
        for engine in engines
    ]


def run(arguments: argparse.Namespace, console: Console) -> ScalingReport:
    """Run what the arguments ask for.

    Raises
    ------
    TvmqError : an argument is wrong, data is missing, or a peer is not installed.
    """
    check_positive(arguments, "rounds")
    if min(arguments.threads) < 1 or len(set(arguments.threads)) < 2:
        raise TvmqError(
            f"--threads {' '.join(map(str, arguments.threads))}: expected two or more positive numbers"
        )
    check_output(arguments.output)
    check_models(arguments.models)
    for name in arguments.engines:
        if name not in ENGINES:
            raise unknown("engine", name, ENGINES)
    engines = [engine for engine in ENGINES.values() if engine.name in arguments.engines]
    versions = machine.versions(tuple({package: None for engine in engines for package in engine.packages}))
    # It would override the target's number, for good.
    os.environ.pop("TVM_NUM_THREADS", None)
    isa = get_isa(arguments.isa)
    limit_peers(isa)
    settings = Settings(1, arguments.target or default_target(isa), isa.name)
    before = machine.describe()
    rows: list[Row] = []
    with Progress(console=console, transient=True) as progress:
        for name in progress.track(arguments.models, description="models"):
            subject = load_subject(name, limit=1)
            rows += run_model(subject, engines, arguments.threads, settings, arguments.rounds)
    about = {"target": settings.target, "isa": isa.name, "rounds": arguments.rounds}
    return ScalingReport(before, versions, about, tuple(rows))


def table_of(report: ScalingReport) -> Table:
    """Return milliseconds a number of threads, and how many times faster than on the fewest."""
    counts = list(report.rows[0].latencies)
    rows = [
        (
            *(row.model, row.engine),
            *(f"{row.latencies[count].median_ms:.3f}" for count in counts),
            *(f"{row.speed_up(count):.2f}" for count in counts[1:]),
        )
        for row in report.rows
    ]
    headings = (
        "model",
        "engine",
        *(f"ms on {count}" for count in counts),
        *(f"x on {count}" for count in counts[1:]),
    )
    return Table(headings, rows)


def _act(arguments: argparse.Namespace, console: Console) -> None:
    report = run(arguments, console)
    about = list(facts(report.machine, report.settings, report.versions))
    if arguments.output:
        Path(f"{arguments.output}.json").write_text(json.dumps(dataclasses.asdict(report), indent=2) + "\n")
    show_table(table_of(report), about, console, arguments.output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_command(_parser(), argv, _act)


if __name__ == "__main__":
    sys.exit(main())
