"""The command: builds each model with each engine, checks its answers, times it, writes the tables."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ..errors import unknown
from . import cache, machine
from .accuracy import assess, predict
from .command import check_output, check_positive, run_command
from .contenders import CONTENDERS
from .engines import Built, Engine, Settings, folder_for
from .isa import ISAS, default_target, get_isa, limit_peers
from .latency import Timer, measure, timer_of
from .peers import PEERS, REFERENCE
from .report import ModelReport, Report, Row, show, to_json, to_markdown
from .subjects import NAMES, Subject, check_models, load_subject

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (*PEERS, *CONTENDERS)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tvmq.bench", description=__doc__)
    parser.add_argument(
        "--models",
        nargs="+",
        default=["mobilenetv2"],
        metavar="NAME",
        help=NAMES,
    )
    parser.add_argument(
        "--engines",
        nargs="+",
        default=list(ENGINES),
        metavar="NAME",
        help=f"some of: {'; '.join(ENGINES)} (default: all; {REFERENCE.name!r} is always added)",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of every engine (default: 1)")
    parser.add_argument(
        "--isa",
        default="native",
        metavar="NAME",
        help=f"limit tvmq and OpenVINO (onnxruntime has no such switch): {', '.join(ISAS)}",
    )
    parser.add_argument("--target", help="tvmq's target, such as 'llvm -mcpu=znver3' (default: as --isa)")
    parser.add_argument(
        "--samples", type=int, default=400, help="samples to evaluate on at most (default: 400)"
    )
    parser.add_argument(
        "--rounds", type=int, default=30, help="turns of each engine in the timing (default: 30)"
    )
    parser.add_argument("--output", type=Path, metavar="STEM", help="also write STEM.json and STEM.md")
    return parser


def _engines(names: Sequence[str]) -> list[Engine]:
    for name in names:
        if name not in ENGINES:
            raise unknown("engine", name, ENGINES)
    return [engine for engine in ENGINES.values() if engine.name in names or engine is REFERENCE]


def _bare(engine: str) -> str:
    return f"{engine}, bare"


def _timers(built: Mapping[str, Built], sample: np.ndarray) -> dict[str, Timer]:
    """Return a timer for each engine's call, and one for the call without Python where there is a clock."""
    timers = {name: timer_of(contender.run, sample) for name, contender in built.items()}
    for name, contender in built.items():
        if contender.bare_seconds is not None:
            timers[_bare(name)] = functools.partial(contender.bare_seconds, sample)
    return timers


def run_model(
    subject: Subject, engines: Sequence[Engine], settings: Settings, rounds: int, progress: Progress
) -> ModelReport:
    """Build the model with every engine, then evaluate each, then time all in turn.

    Parameters
    ----------
    engines : the first one is the reference of accuracy and speed.
    rounds : turns of each engine in the timing.
    """
    data = subject.data
    built: dict[str, Built] = {}
    logits: dict[str, np.ndarray] = {}
    failures: dict[str, str] = {}
    task = progress.add_task("", total=len(engines) * len(data.samples))
    for engine in engines:
        progress.update(task, description=f"{subject.model.name}: {engine.name}")
        folder = folder_for(engine, subject, settings)
        try:
            contender = engine.build(subject, settings, folder)
        # A peer's quantizer raises whatever it meets, and its failure is a result too.
        except Exception as error:
            if not engine.is_peer or engine is engines[0]:
                raise
            failures[engine.name] = f"{type(error).__name__}: {error}".splitlines()[0]
            progress.advance(task, len(data.samples))
            continue

        def answers(contender: Built = contender) -> np.ndarray:
            return predict(contender.run, data.samples, lambda: progress.advance(task))

        built[engine.name] = contender
        logits[engine.name] = (
            cache.kept_array(folder / "outputs.npy", answers) if engine.is_peer else answers()
        )
    progress.update(task, description=f"{subject.model.name}: timing", total=rounds, completed=0)
    latencies = measure(_timers(built, data.samples[:1]), rounds, lambda: progress.advance(task))
    progress.remove_task(task)
    rows = tuple(
        Row(
            engine.name,
            engine.is_int8,
            engine.is_peer,
            built[engine.name].isa,
            assess(logits[engine.name], logits[engines[0].name], data.labels),
            latencies[engine.name],
            latencies.get(_bare(engine.name)),
        )
        for engine in engines
        if engine.name in built
    )
    return ModelReport(subject.model.name, len(data.calibration), len(data.samples), rows, failures)


def run(arguments: argparse.Namespace, console: Console) -> Report:
    """Run what the arguments ask for.

    Raises
    ------
    TvmqError : an argument is wrong, data is missing, or a peer is not installed.
    """
    check_positive(arguments, "threads", "samples", "rounds")
    check_output(arguments.output)
    engines = _engines(arguments.engines)
    versions = machine.versions(tuple({package: None for engine in engines for package in engine.packages}))
    check_models(arguments.models)
    # The runtime reads it once, when its pool of threads starts.
    os.environ["TVM_NUM_THREADS"] = str(arguments.threads)
    isa = get_isa(arguments.isa)
    limit_peers(isa)
    settings = Settings(arguments.threads, arguments.target or default_target(isa), isa.name)
    before = machine.describe()
    with Progress(console=console, transient=True) as progress:
        models = tuple(
            run_model(load_subject(name, arguments.samples), engines, settings, arguments.rounds, progress)
            for name in arguments.models
        )
    return Report(before, versions, dataclasses.asdict(settings) | {"rounds": arguments.rounds}, models)


def _act(arguments: argparse.Namespace, console: Console) -> None:
    report = run(arguments, console)
    if arguments.output:
        Path(f"{arguments.output}.json").write_text(to_json(report))
        Path(f"{arguments.output}.md").write_text(to_markdown(report))
    show(report, console)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_command(_parser(), argv, _act)
