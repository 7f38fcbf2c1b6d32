"""``python -m tvmq.bench.throughput``: images a second at each batch size, and the best of them.

All engines run one batch at a time, on as many threads as are asked for, in turn.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from rich.console import Console
from rich.progress import Progress

from ..errors import TvmqError
from . import machine
from .command import check_output, check_positive, run_command
from .isa import default_target, get_isa
from .latency import Timer, measure
from .report import facts
from .subjects import NAMES, check_models, load_subject
from .tables import Table, show_table

ENGINES = ("onnxruntime float", "tvmq float", "tvmq int8")
BATCHES = (1, 2, 8, 32)
_SHAPED = {"Reshape": 1, "Expand": 1}
"""Operators with a shape among their inputs, and where."""


@dataclass(frozen=True)
class Row:
    """Images a second of one engine on one model, by batch size; None where it cannot take that batch."""

    model: str
    engine: str
    speeds: dict[int, float | None]

    @property
    def best(self) -> float:
        """The most images a second at any batch size."""
        return max((speed for speed in self.speeds.values() if speed is not None), default=0.0)


def with_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Return a model of batch 1 for a larger one, also where constant shapes begin with 1."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    graph = twin.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for value in graph.input:
        if value.name not in constants:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    shapes = {node.input[_SHAPED[node.op_type]] for node in graph.node if node.op_type in _SHAPED}
    for name in shapes & constants.keys():
        numbers = numpy_helper.to_array(constants[name]).copy()
        if numbers.size > 1 and numbers[0] == 1:
            numbers[0] = batch
            constants[name].CopyFrom(numpy_helper.from_array(numbers, name))
    return twin


def timers_of(
    model: onnx.ModelProto, sample: dict[str, np.ndarray], target: str, threads: int
) -> dict[str, Timer]:
    """Return for each engine what times runs of the sample."""
    import onnxruntime

    import tvmq

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])

    def of_session(number: int) -> float:
        start = time.perf_counter()
        for _ in range(number):
            session.run(None, sample)
        return (time.perf_counter() - start) / number

    packages = (
        tvmq.compile(model, target),
        tvmq.compile(tvmq.quantize(model, "int8", target, [sample]), target),
    )

    def of_package(package: tvmq.Package) -> Timer:
        return lambda number: package.time(sample, number, 1)[0]

    return dict(zip(ENGINES, (of_session, *map(of_package, packages)), strict=True))


def run_model(name: str, batches: Sequence[int], target: str, threads: int, rounds: int) -> list[Row]:
    """Build the model for every batch size with every engine, and time the engines in turn."""
    subject = load_subject(name, limit=1)
    model = onnx.load(subject.path)
    speeds: dict[str, dict[int, float | None]] = {engine: {} for engine in ENGINES}
    for batch in batches:
        data = np.resize(subject.data.samples, (batch, *subject.data.samples.shape[1:]))
        sample = {subject.model.input: np.ascontiguousarray(data)}
        try:
            timers = timers_of(with_batch(model, batch), sample, target, threads)
        except (
            Exception
        ):  # a model that knows its batch by more than its input's shape; engines raise what they like
            timers = {}
        found = measure(timers, rounds, lambda: None)
        for engine in ENGINES:
            speeds[engine][batch] = 1e3 * batch / found[engine].median_ms if engine in found else None
    return [Row(subject.model.name, engine, speeds[engine]) for engine in ENGINES]


def table_of(rows: Sequence[Row]) -> Table:
    """Return images a second a batch size, and the best."""
    batches = list(rows[0].speeds)

    def text(speed: float | None) -> str:
        return "-" if speed is None else f"{speed:.1f}"

    return Table(
        ("model", "engine", *(f"batch {batch}" for batch in batches), "best"),
        [(row.model, row.engine, *map(text, row.speeds.values()), text(row.best)) for row in rows],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tvmq.bench.throughput", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["mobilenetv2"], metavar="NAME", help=NAMES)
    parser.add_argument(
        "--batches",
        nargs="+",
        type=int,
        default=list(BATCHES),
        metavar="N",
        help=f"sizes to compare (default: {' '.join(map(str, BATCHES))})",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of every engine (default: 1)")
    parser.add_argument("--target", help="tvmq's target, such as 'llvm -mcpu=znver3' (default: this CPU)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each engine (default: 5)")
    parser.add_argument("--output", type=Path, metavar="STEM", help="also write STEM.md")
    return parser


def _act(arguments: argparse.Namespace, console: Console) -> None:
    check_positive(arguments, "rounds", "threads")
    check_output(arguments.output)
    check_models(arguments.models)
    if min(arguments.batches) < 1:
        raise TvmqError(f"--batches {' '.join(map(str, arguments.batches))}: expected positive numbers")
    versions = machine.versions(("onnxruntime", "tvmq", "apache-tvm"))
    target = f"{arguments.target or default_target(get_isa('native'))} -num-cores={arguments.threads}"
    before = machine.describe()
    rows: list[Row] = []
    with Progress(console=console, transient=True) as progress:
        for name in progress.track(arguments.models, description="models"):
            rows += run_model(name, arguments.batches, target, arguments.threads, arguments.rounds)
    about = list(facts(before, {"target": target, "rounds": arguments.rounds}, versions))
    show_table(table_of(rows), about, console, arguments.output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_command(_parser(), argv, _act)


if __name__ == "__main__":
    sys.exit(main())
