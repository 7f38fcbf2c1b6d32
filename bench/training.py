"""``python -m tvmq.bench.training``: a step of fine-tuning beside float inference of the same samples, in turn.

    inference    y = f(x)
    step         targets given: forwards, backwards, and all parameters moved

Both run on all cores, by the same kernels where there are such. Calibration is on the model's own samples, to w4a4.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ..api import calibration_data
from ..given import Given, imported
from ..passes.annotate.options import QuantizeOptions
from ..passes.hub.graph import tupled
from ..passes.hub.pairs import float_form
from ..passes.hub.schemes import get_scheme
from ..passes.pipeline import calibration_passes
from ..passes.train.batch import batched
from ..passes.train.network import network
from ..passes.train.objective import images_last
from ..passes.train.optimizers import Optimizer
from ..passes.train.vector import Vector
from ..search.host import function_on_host
from ..targets.features import row_of
from ..targets.parse import parse_target
from . import machine
from .command import check_output, check_positive, run_command
from .latency import Timer, measure, timer_of_call
from .report import facts
from .subjects import Subject, load_subject
from .tables import Table, show_table

SAMPLES = 16
"""That calibrate: the speed does not depend on it."""


def timers_of(subject: Subject, batch: int) -> dict[str, Timer]:
    """Return the timers of float inference and of a step."""
    name = subject.model.input
    mod = imported(str(subject.path), Given({name: subject.input_shape}), in_float32=True)
    samples = [{name: sample[None]} for sample in subject.data.calibration[:SAMPLES]]
    data = calibration_data(samples, mod)
    row = row_of(parse_target("llvm -mcpu=native"))
    hub = calibration_passes(get_scheme("w4a4"), row, QuantizeOptions(), data)(mod)
    made = network(hub, hub, function_on_host, batch=batch)
    inputs = {name: np.concatenate([sample[name] for sample in samples * batch][: made.batch])}
    float_function = function_on_host(images_last(tupled(batched(float_form(hub), made.batch))))
    vector = Vector(made.student.parameters)
    ones = np.ones_like(vector.values)
    optimizer, targets = Optimizer.of("adamw", ones, 0.0 * ones), made.targets(made.taught(inputs))
    gradient = vector.empty(vector.values.size)

    def step() -> None:
        _, _, gradients = made.run(inputs, targets, vector.views(vector.values))
        for view, own in zip(vector.views(gradient), gradients, strict=True):
            view[...] = own
        optimizer.step(vector.values, gradient, 0.0)

    return {"inference": timer_of_call(lambda: float_function([inputs[name]])), "step": timer_of_call(step)}


def table_of(found: dict[str, dict[str, float]]) -> Table:
    """Return milliseconds of both, and how many times as long a step takes."""
    return Table(
        ("model", "inference, ms", "step, ms", "times"),
        [
            (
                name,
                f"{times['inference']:.1f}",
                f"{times['step']:.1f}",
                f"{times['step'] / times['inference']:.2f}",
            )
            for name, times in found.items()
        ],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tvmq.bench.training", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["mobilenetv2", "resnet20"], metavar="NAME")
    parser.add_argument("--batch", type=int, default=8, help="samples (default: 8)")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each (default: 10)")
    parser.add_argument("--output", type=Path, metavar="STEM", help="also write STEM.md")
    return parser


def _act(arguments: argparse.Namespace, console: Console) -> None:
    check_positive(arguments, "rounds", "batch")
    check_output(arguments.output)
    before = machine.describe()
    found: dict[str, dict[str, float]] = {}
    with Progress(console=console, transient=True) as progress:
        for name in progress.track(arguments.models, description="models"):
            timers = timers_of(load_subject(name, 1), arguments.batch)
            latencies = measure(timers, arguments.rounds, lambda: None)
            found[name] = {kind: latency.median_ms for kind, latency in latencies.items()}
    settings = {"batch": arguments.batch, "rounds": arguments.rounds}
    show_table(
        table_of(found),
        list(facts(before, settings, machine.versions(("numpy",)))),
        console,
        arguments.output,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_command(_parser(), argv, _act)


if __name__ == "__main__":
    sys.exit(main())
