"""``python -m tvmq.bench.exported``: quantized models as ONNX files, in the runtimes that they are written for.

Each model is quantized to int8 and written in both forms. The same samples go through tvmq's package, through
onnxruntime and OpenVINO as they run such a file, and through both without what makes integers of Q and DQ: there they
run in float, as they are defined. On a CPU without VNNI both runtimes add products of uint8 and int8 in saturating
int16, so only the latter tells whether the file is right.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from .. import api
from ..runtime.package import Package
from .command import check_positive, run_command
from .machine import cpu_name
from .subjects import data_root, load_subject

Feed = Mapping[str, np.ndarray]
RunFeed = Callable[[Feed], np.ndarray]
"""Inputs by name to the first output, flattened."""

MINILM = "minilm"
LENGTH = 32
"""Tokens of a sentence, as the data are padded."""
CALIBRATION = 32
"""Sentences that MiniLM is calibrated on."""


@dataclass(frozen=True)
class Task:
    """A model with samples.

    Attributes
    ----------
    score : outputs of all samples to the figure of merit, in per cent: top-1, or Spearman's correlation.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    calibration: list[Feed]
    samples: list[Feed]
    score: Callable[[np.ndarray], float]
    metric: str


def task_of(name: str, limit: int) -> Task:
    """Return the task of a model of ``subjects.MODELS``, MiniLM on pairs of sentences among them."""
    if name == MINILM:
        return _sentences(data_root() / "transformer", limit)
    subject = load_subject(name, limit)
    data, key = subject.data, subject.model.input
    labels = data.labels

    def top1(outputs: np.ndarray) -> float:
        return float((outputs.argmax(1) == labels).mean()) * 100

    def feeds(samples: np.ndarray) -> list[Feed]:
        return [{key: np.ascontiguousarray(sample[None])} for sample in samples]

    shapes = {key: subject.input_shape}
    return Task(subject.path, shapes, feeds(data.calibration), feeds(data.samples), top1, "top-1")


def _sentences(folder: Path, limit: int) -> Task:
    with np.load(folder / "sick_test_986.npz") as data:
        given = {name: data[name] for name in data.files}
    count = min(limit, len(given["score"]) - CALIBRATION)

    def feeds(side: str, rows: slice) -> list[Feed]:
        pairs = zip(given[f"ids_{side}"][rows, :LENGTH], given[f"mask_{side}"][rows, :LENGTH], strict=True)
        return [
            {"input_ids": ids[None].astype(np.int64), "attention_mask": mask[None].astype(np.int64)}
            for ids, mask in pairs
        ]

    def spearman(outputs: np.ndarray) -> float:
        unit = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
        similar = (unit[:count] * unit[count:]).sum(1)
        return 100 * float(np.corrcoef(_ranks(similar), _ranks(given["score"][:count]))[0, 1])

    shapes = {name: (1, LENGTH) for name in ("input_ids", "attention_mask")}
    evaluated = [*feeds("a", slice(count)), *feeds("b", slice(count))]
    calibration = feeds("a", slice(count, count + CALIBRATION))
    return Task(folder / "minilm_l6_v2.onnx", shapes, calibration, evaluated, spearman, "Spearman")


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value, the mean one of those that are equal."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def engines(task: Task, folder: Path) -> Iterator[tuple[str, RunFeed]]:
    """Yield what runs the model in float, then what runs it quantized."""
    yield "onnxruntime, float", run_in_onnxruntime(task.path)
    quantized = api.quantize(str(task.path), "int8", calibration=task.calibration, input_shapes=task.shapes)
    yield "tvmq", run_in_tvmq(api.compile(quantized))
    for form in ("qdq", "qoperator"):
        path = folder / f"{form}.onnx"
        quantized.to_onnx(path, form)
        yield f"tvmq, {form} file", run_in_tvmq(api.compile(str(path)))
        yield f"onnxruntime, {form}", run_in_onnxruntime(path)
    yield "onnxruntime, qdq in float", run_in_onnxruntime(folder / "qdq.onnx", optimized=False)
    yield "OpenVINO, qdq", _openvino(folder / "qdq.onnx")
    yield "OpenVINO, qdq in float", _openvino(folder / "qdq.onnx", {"LP_TRANSFORMS_MODE": "OFF"})


def run_in_tvmq(package: Package) -> RunFeed:
    """Return what runs a package."""
    return lambda feed: next(iter(package.run(dict(feed)).values())).reshape(-1)


def run_in_onnxruntime(path: Path, optimized: bool = True) -> RunFeed:
    """Return what runs a file; without optimizations Q and DQ stay operators of their own, around float ones."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, dict(feed))[0].reshape(-1)


def _openvino(path: Path, settings: Mapping[str, str] | None = None) -> RunFeed:
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32", **(settings or {})}
    )
    request = compiled.create_infer_request()
    return lambda feed: next(iter(request.infer(dict(feed)).values())).reshape(-1)


def show(name: str, limit: int, console: Console) -> None:
    """Print a model's table."""
    task = task_of(name, limit)
    table = Table(name, task.metric, "as tvmq %", "furthest from tvmq", title=f"{len(task.samples)} samples")
    own: np.ndarray | None = None
    with tempfile.TemporaryDirectory(prefix="tvmq-exported-") as folder:
        for engine, run in engines(task, Path(folder)):
            outputs = np.stack([run(feed) for feed in task.samples])
            own = outputs if engine == "tvmq" else own
            row = ["", ""]
            if own is not None and engine != "tvmq":
                agrees = (outputs.argmax(1) == own.argmax(1)).mean()
                furthest = np.abs(outputs - own).max() / np.abs(own).max()
                row = [f"{agrees:.1%}" if task.metric == "top-1" else "", f"{furthest:.1%}"]
            table.add_row(engine, f"{task.score(outputs):.2f}", *row)
    console.print(table)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tvmq.bench.exported", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--models", nargs="+", default=["mobilenetv2", "resnet20", "kws", MINILM], metavar="NAME"
    )
    parser.add_argument("--samples", type=int, default=400, help="to evaluate on (default: %(default)s)")

    def action(arguments: argparse.Namespace, console: Console) -> None:
        check_positive(arguments, "samples")
        console.print(cpu_name())
        for name in arguments.models:
            show(name, arguments.samples, console)

    return run_command(parser, argv, action)


if __name__ == "__main__":
    raise SystemExit(main())
