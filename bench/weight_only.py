"""``python -m tvmq.bench.weight_only``: what compressed weights save, and what they cost.

One model, compressed to fewer and fewer bits, in groups, in codebooks and in mixed bits: the size of the package, its
latency, and its accuracy with biases corrected without samples and with them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from . import machine
from .accuracy import Accuracy, assess, predict
from .command import check_positive, run_command
from .engines import Run, calibration_feeds
from .latency import Latency, measure, timer_of
from .method_tables import cell, renewed
from .subjects import MODELS, Subject, load_subject
from .tables import Table

PART = "weight-only"
"""The part of a page that the command renews."""

WAYS: dict[str, Mapping[str, Any]] = {
    **{f"{bits} bits": {"weight_bits": bits} for bits in (16, 8, 6, 5, 4, 3, 2)},
    **{
        f"{bits} bits, groups of {size}": {"weight_bits": bits, "group_size": size}
        for bits, size in ((4, 32), (4, 16), (3, 16))
    },
    **{f"{bits} bits, codebooks": {"weight_bits": bits, "codebook": True} for bits in (6, 4, 3)},
    "mixed": {"weight_bits": 0},
    **{f"mixed, {scale}": {"weight_bits": 0, "mixed_start_scale": scale} for scale in (0.05, 0.1)},
    "mixed, codebooks": {"weight_bits": 0, "codebook": True},
}
"""Fields of ``QuantizeOptions`` by what the table calls them."""

NOTE = (
    "MB are 10^6 bytes, ms the median of whole Python calls on one thread, all packages in turn. Accuracy: top-1 in %, "
    "the share of samples whose class is the float model's in %, the mean cosine of the logits to the float model's."
)


@dataclass(frozen=True)
class Measured:
    """One way to compress.

    Attributes
    ----------
    package_bytes, library_bytes : of ``model.tar`` and of its ``mod.so``.
    latency : of the package whose biases know the samples.
    without, given : accuracy without samples and with them; the same for the float model.
    """

    package_bytes: int
    library_bytes: int
    latency: Latency
    without: Accuracy
    given: Accuracy


def measured(
    subject: Subject, ways: Mapping[str, Mapping[str, Any]], rounds: int, progress: Progress
) -> dict[str, Measured]:
    """Return the float model's row and that of each way."""
    import tvmq

    name, path, shapes = subject.model.input, str(subject.path), {subject.model.input: subject.input_shape}
    data = subject.data
    task = progress.add_task("", total=(1 + 2 * len(ways)) * len(data.samples))

    def advance() -> None:
        progress.advance(task)

    def run_of(package: tvmq.Package) -> Run:
        (output,) = package.metadata["outputs"]
        return lambda sample: package.run({name: sample})[output["name"]]

    def compressed(options: Mapping[str, Any], feeds: list[Any] | None) -> tvmq.Package:
        chosen = tvmq.QuantizeOptions(**options)
        return tvmq.compile(
            tvmq.quantize(path, "weight-only", calibration=feeds, input_shapes=shapes, options=chosen)
        )

    progress.update(task, description="float")
    packages = {"float": tvmq.compile(path, input_shapes=shapes)}
    reference = predict(run_of(packages["float"]), data.samples, advance)

    def accuracy(package: tvmq.Package) -> Accuracy:
        return assess(predict(run_of(package), data.samples, advance), reference, data.labels)

    exact = assess(reference, reference, data.labels)
    found = {"float": (exact, exact)}
    feeds = list(calibration_feeds(subject))
    for way, options in ways.items():
        progress.update(task, description=way)
        without = accuracy(compressed(options, None))
        packages[way] = compressed(options, feeds)
        found[way] = without, accuracy(packages[way])
    progress.update(task, description="latency")
    timers = {way: timer_of(run_of(package), data.samples[:1]) for way, package in packages.items()}
    latencies = measure(timers, rounds, lambda: None)
    progress.remove_task(task)
    return {way: Measured(*_sizes(package), latencies[way], *found[way]) for way, package in packages.items()}


def _sizes(package: Any) -> tuple[int, int]:
    """Return the bytes of a package's file and of its library."""
    with tempfile.TemporaryDirectory(prefix="tvmq-") as folder:
        file = Path(folder) / "model.tar"
        package.export(file)
        return file.stat().st_size, package.metadata["bytes"]["total"]


def table_of(rows: Mapping[str, Measured], samples: int) -> Table:
    """Return a row a way; ``samples``: how many biases know."""
    headings = ("method", "package MB", "mod.so MB", "ms", "no samples", f"{samples} samples")
    return Table(
        headings,
        [
            [
                way,
                f"{row.package_bytes / 1e6:.2f}",
                f"{row.library_bytes / 1e6:.2f}",
                f"{row.latency.median_ms:.1f} ± {row.latency.spread_ms:.1f}",
                cell(row.without),
                cell(row.given),
            ]
            for way, row in rows.items()
        ],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tvmq.bench.weight_only", description=__doc__)
    parser.add_argument("--model", default="mobilenetv2", metavar="NAME", help=", ".join(MODELS))
    parser.add_argument(
        "--samples", type=int, default=1000, help="samples to evaluate on at most (default: 1000)"
    )
    parser.add_argument("--rounds", type=int, default=15, help="rounds of timing (default: 15)")
    parser.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help=f"renew the part of a Markdown page between <!-- {PART} -->",
    )
    return parser


def run(arguments: argparse.Namespace, console: Console) -> Table:
    """Run what the arguments ask for, and renew the page.

    Raises
    ------
    TvmqError : an argument is wrong, or data is missing.
    """
    check_positive(arguments, "samples", "rounds")
    if arguments.page is not None:
        renewed(arguments.page, "", PART)  # that it can be, before minutes of work
    subject = load_subject(arguments.model, arguments.samples)
    os.environ["TVM_NUM_THREADS"] = "1"
    with Progress(console=console, transient=True) as progress:
        rows = measured(subject, WAYS, arguments.rounds, progress)
    table = table_of(rows, len(subject.data.calibration))
    if arguments.page is not None:
        said = f"{NOTE} {subject.model.name}, evaluated on {len(subject.data.samples)} samples. {machine.cpu_name()}."
        arguments.page.write_text(
            renewed(arguments.page, "\n".join([*table.to_markdown(), "", said]) + "\n", PART)
        )
    return table


def _act(arguments: argparse.Namespace, console: Console) -> None:
    console.print(run(arguments, console).to_terminal())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_command(_parser(), argv, _act, width=160)


if __name__ == "__main__":
    sys.exit(main())
