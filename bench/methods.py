"""The command that compares methods of quantization on real models: accuracy beside the float model and other tools.

    python -m tvmq.bench.methods --models mobilenetv2 resnet20 resnet8 kws --output methods --page docs/accuracy.md

Each model is quantized by each row of ``method_rows``, calibrated on the same samples, compiled to integers, and
evaluated on the same others.
What has been measured is kept (``bench.cache``), so a run that was broken off goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ..errors import unknown
from . import cache, machine
from .accuracy import Accuracy, assess, predict
from .command import check_output, check_positive, run_command
from .engines import Engine, Run, Settings, calibration_feeds, folder_for
from .method_rows import METHODS, PEER_GROUP, PEER_METHODS, Method
from .method_tables import Measured, MethodReport, ModelMethods, renewed, table_of, to_json, to_markdown
from .peers import REFERENCE
from .subjects import MODELS, Subject, load_subject

DEFAULT_MODELS = ("mobilenetv2", "resnet20", "resnet8", "kws")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tvmq.bench.methods", description=__doc__)
    parser.add_argument(
        "--models", nargs="+", default=list(DEFAULT_MODELS), metavar="NAME", help=", ".join(MODELS)
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        default=None,
        metavar="NAME",
        help=f"some of: {'; '.join(_names())} (default: all)",
    )
    parser.add_argument(
        "--samples", type=int, default=1000, help="samples to evaluate on at most (default: 1000)"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of every engine (default: 1)")
    parser.add_argument(
        "--kept", action="store_true", help="show what has been measured, and measure nothing"
    )
    parser.add_argument("--fresh", action="store_true", help="measure anew what has been kept of our methods")
    parser.add_argument("--output", type=Path, metavar="STEM", help="also write STEM.json and STEM.md")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="renew the part of a Markdown page between <!-- methods -->"
    )
    return parser


def _names() -> list[str]:
    return [*(method.name for method in METHODS), *(engine.name for engine in PEER_METHODS)]


def build(subject: Subject, method: Method) -> Run:
    """Return the function that runs one sample of the subject's model, quantized by that method."""
    import tvmq
    from tvmq.passes.annotate.options import QuantizeOptions

    name = subject.model.input
    model = tvmq.quantize(
        str(subject.path),
        method.scheme,
        method.target,
        list(calibration_feeds(subject)),
        input_shapes={name: subject.input_shape},
        options=QuantizeOptions(**method.options),
    )
    package = tvmq.compile(model, method.target)
    (output,) = package.metadata["outputs"]
    return lambda sample: package.run({name: sample})[output["name"]]


def _kept(subject: Subject, method: Method) -> Path:
    """Return the file that keeps what this method gave: named by all that decides it but the code itself."""
    key = {
        "method": [sorted(method.options.items()), method.scheme, method.target],
        "subject": subject.digest,
        "version": importlib.metadata.version("tvmq"),
        "cpu": [machine.cpu_name(), *machine.instruction_sets()],
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return cache.cache_root() / "methods" / f"{subject.model.name}-{digest}.json"


def measure(
    subject: Subject, method: Method, reference: np.ndarray, fresh: bool, advance: Callable[[], None]
) -> Measured:
    """Return how good one method is; ``reference`` are the float model's logits ``[n, classes]``."""
    file = _kept(subject, method)
    if fresh:
        file.unlink(missing_ok=True)

    def write(aside: Path) -> None:
        start = time.monotonic()
        run = build(subject, method)
        seconds = time.monotonic() - start
        accuracy = assess(predict(run, subject.data.samples, advance), reference, subject.data.labels)
        aside.write_text(json.dumps({**dataclasses.asdict(accuracy), "seconds": seconds}))

    record = json.loads(cache.kept(file, write).read_text())
    seconds = record.pop("seconds")
    return Measured(method.group, method.name, Accuracy(**record), seconds)


def _answers(engine: Engine, subject: Subject, settings: Settings) -> Path:
    """Return the file that keeps what a peer answered."""
    return folder_for(engine, subject, settings) / "outputs.npy"


def _outputs(engine: Engine, subject: Subject, settings: Settings, advance: Callable[[], None]) -> np.ndarray:
    """Return what a peer answers; its model and its answers are kept."""
    file = _answers(engine, subject, settings)

    def answers() -> np.ndarray:
        return predict(engine.build(subject, settings, file.parent).run, subject.data.samples, advance)

    return cache.kept_array(file, answers)


def run_model(
    subject: Subject,
    methods: Sequence[Method],
    peers: Sequence[Engine],
    settings: Settings,
    fresh: bool,
    progress: Progress,
) -> ModelMethods:
    """Measure one model with every method and every peer."""
    data = subject.data
    task = progress.add_task("", total=(1 + len(methods) + len(peers)) * len(data.samples))
    done = 0

    def begin(name: str) -> None:
        nonlocal done
        progress.update(task, description=f"{subject.model.name}: {name}", completed=done * len(data.samples))
        done += 1

    def advance() -> None:
        progress.advance(task)

    begin(REFERENCE.name)
    reference = _outputs(REFERENCE, subject, settings, advance)
    float_accuracy = assess(reference, reference, data.labels)
    measured = []
    for method in methods:
        begin(method.name)
        measured.append(measure(subject, method, reference, fresh, advance))
    failures = {}
    for engine in peers:
        begin(engine.name)
        try:
            outputs = _outputs(engine, subject, settings, advance)
        # A peer's quantizer raises whatever it meets, and its failure is a result too.
        except Exception as error:
            failures[engine.name] = f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        measured.append(Measured(PEER_GROUP, engine.name, assess(outputs, reference, data.labels)))
    progress.remove_task(task)
    return ModelMethods(
        subject.model.name,
        len(data.calibration),
        len(data.samples),
        float_accuracy,
        tuple(measured),
        failures,
    )


def run(arguments: argparse.Namespace, console: Console) -> MethodReport:
    """Run what the arguments ask for.

    Raises
    ------
    TvmqError : an argument is wrong, data is missing, or a peer is not installed.
    """
    check_positive(arguments, "samples", "threads")
    check_output(arguments.output)
    if arguments.page is not None:
        renewed(arguments.page, "")  # that it can be, before hours of work
    for name in arguments.models:
        if name not in MODELS:
            raise unknown("model", name, MODELS)
    wanted = arguments.methods or _names()
    for name in wanted:
        if name not in _names():
            raise unknown("method", name, _names())
    methods = [method for method in METHODS if method.name in wanted]
    peers = [engine for engine in PEER_METHODS if engine.name in wanted]
    os.environ["TVM_NUM_THREADS"] = str(arguments.threads)
    settings = Settings(arguments.threads, "llvm -mcpu=native", "native")
    packages = {package: None for engine in (REFERENCE, *peers) for package in engine.packages}
    versions = machine.versions(("tvmq", "apache-tvm", *packages))
    before = machine.describe()
    models = []
    with Progress(console=console, transient=True) as progress:
        for name in arguments.models:
            subject, ours, others = load_subject(name, arguments.samples), methods, peers
            if arguments.kept:
                ours = [method for method in methods if _kept(subject, method).exists()]
                others = [engine for engine in peers if _answers(engine, subject, settings).exists()]
            models.append(run_model(subject, ours, others, settings, arguments.fresh, progress))
    return MethodReport(before, versions, tuple(models))


def _act(arguments: argparse.Namespace, console: Console) -> None:
    report = run(arguments, console)
    if arguments.output:
        Path(f"{arguments.output}.json").write_text(to_json(report))
        Path(f"{arguments.output}.md").write_text(to_markdown(report))
    if arguments.page:
        arguments.page.write_text(renewed(arguments.page, to_markdown(report)))
    console.print(table_of(report).to_terminal())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_command(_parser(), argv, _act, width=160)


if __name__ == "__main__":
    sys.exit(main())
