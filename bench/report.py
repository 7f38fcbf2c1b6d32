"""The result of a run, as a record, as tables on the terminal and as Markdown."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console

from .accuracy import Accuracy
from .latency import Latency
from .tables import Table

ACCURACY_HEADINGS = ("engine", "top-1 %", "agrees %", "cosine")
LATENCY_HEADINGS = ("engine", "ms", "± ms", "bare ms", "vs fp32", "vs int8", "instruction set")
NOTE = (
    "agrees, cosine: with the outputs of the float model in onnxruntime. ms: median of the whole call from "
    "Python; ±: half the distance of its quartiles; bare ms: without Python. vs fp32, vs int8: how many "
    "times faster than onnxruntime in float, and than the fastest peer in int8."
)


@dataclass(frozen=True)
class Row:
    """One engine on one model.

    Attributes
    ----------
    engine : its name.
    is_int8, is_peer : as in ``Engine``.
    isa : as in ``Built``.
    accuracy, latency : what was measured.
    bare : latency without Python around the call; None where the engine has no clock of its own.
    """

    engine: str
    is_int8: bool
    is_peer: bool
    isa: str
    accuracy: Accuracy
    latency: Latency
    bare: Latency | None = None


@dataclass(frozen=True)
class ModelReport:
    """All engines on one model; the first row is the reference.

    Attributes
    ----------
    model : its name.
    calibration_samples, evaluated_samples : how many there were.
    rows : one an engine.
    failures : engine to the error with which it could not build the model.
    """

    model: str
    calibration_samples: int
    evaluated_samples: int
    rows: tuple[Row, ...]
    failures: dict[str, str] = field(default_factory=dict)

    def speed_ups(self, row: Row) -> tuple[float, float | None]:
        """Return how many times faster it is than the reference and than the fastest int8 peer, if any."""
        peers = [other.latency.median_ms for other in self.rows if other.is_peer and other.is_int8]
        reference = self.rows[0].latency.median_ms / row.latency.median_ms
        return reference, min(peers) / row.latency.median_ms if peers else None


@dataclass(frozen=True)
class Report:
    """A whole run.

    Attributes
    ----------
    machine : see ``machine.describe``.
    versions : distribution to version.
    settings : what was asked for.
    models : one report a model.
    """

    machine: dict[str, object]
    versions: dict[str, str]
    settings: dict[str, object]
    models: tuple[ModelReport, ...]


def _accuracy_cells(report: ModelReport) -> Iterator[Sequence[str]]:
    for row in report.rows:
        accuracy = row.accuracy
        yield (
            row.engine,
            "" if accuracy.top1 is None else f"{100 * accuracy.top1:.1f}",
            f"{100 * accuracy.agreement:.1f}",
            f"{accuracy.cosine:.4f}",
        )


def _latency_cells(report: ModelReport) -> Iterator[Sequence[str]]:
    for row in report.rows:
        over_reference, over_peer = report.speed_ups(row)
        yield (
            row.engine,
            f"{row.latency.median_ms:.3f}",
            f"{row.latency.spread_ms:.3f}",
            "" if row.bare is None else f"{row.bare.median_ms:.3f}",
            f"{over_reference:.2f}",
            "" if over_peer is None else f"{over_peer:.2f}",
            row.isa,
        )


def _tables(report: ModelReport) -> Iterator[Table]:
    yield Table(ACCURACY_HEADINGS, list(_accuracy_cells(report)))
    yield Table(LATENCY_HEADINGS, list(_latency_cells(report)))


def _title(report: ModelReport) -> str:
    return (
        f"{report.model}: calibrated on {report.calibration_samples} samples, "
        f"evaluated on {report.evaluated_samples} others"
    )


def _failures(report: ModelReport) -> list[str]:
    return [f"{engine} could not build the model: {error}" for engine, error in report.failures.items()]


def facts(*groups: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each group of facts about a run."""
    for group in groups:
        yield ", ".join(
            f"{key} {' '.join(map(str, value)) if isinstance(value, list) else value}"
            for key, value in group.items()
        )


def show(report: Report, console: Console) -> None:
    """Print the tables."""
    for line in facts(report.machine, report.settings, report.versions):
        console.print(line)
    for model in report.models:
        console.print(f"\n{_title(model)}")
        for table in _tables(model):
            console.print(table.to_terminal())
        for line in _failures(model):
            console.print(line)
    console.print(f"\n{NOTE}")


def to_markdown(report: Report) -> str:
    """Return the tables as Markdown."""
    lines = [f"- {fact}" for fact in facts(report.machine, report.settings, report.versions)]
    for model in report.models:
        lines += ["", f"### {_title(model)}"]
        for table in _tables(model):
            lines += ["", *table.to_markdown()]
        lines += [line for failure in _failures(model) for line in ("", failure)]
    return "\n".join([*lines, "", NOTE]) + "\n"


def to_json(report: Report) -> str:
    """Return every figure, unrounded."""
    return json.dumps(dataclasses.asdict(report), indent=2) + "\n"
