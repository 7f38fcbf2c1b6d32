"""The result of a sweep, as a record, as tables on the terminal and as Markdown, and as a plot."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from .latency import Latency
from .report import facts
from .tables import Table

TITLES = {True: "int8, GMAC/s", False: "float, GMAC/s"}
NOTE = (
    "peak: the fastest instruction of the target's row in a loop without memory, in the same rounds; of peak: tvmq's "
    "share of it; vs peers: how many times faster tvmq is than the fastest peer. A peer that no switch holds to the "
    "instruction set of the run is marked *; it may exceed the peak, and is not compared with."
)


@dataclass(frozen=True)
class Figure:
    """One engine on one operator.

    Attributes
    ----------
    engine : its name.
    is_int8, is_peer : as in ``KernelEngine``.
    is_held : whether it kept to the instruction set of the run.
    isa : as in ``Kernel``.
    latency : what was measured.
    gmacs : thousand million multiplications a second.
    """

    engine: str
    is_int8: bool
    is_peer: bool
    is_held: bool
    isa: str
    latency: Latency
    gmacs: float


@dataclass(frozen=True)
class OperatorReport:
    """All engines on one operator.

    Attributes
    ----------
    operator, network : its name, and where it comes from.
    macs : its multiplications.
    peaks : GMAC/s that the CPU can do at most, of integers (True) and of floats (False).
    figures : one an engine.
    failures : engine to the error with which it could not build the operator.
    """

    operator: str
    network: str
    macs: int
    peaks: dict[bool, float]
    figures: tuple[Figure, ...]
    failures: dict[str, str] = field(default_factory=dict)

    def of_kind(self, is_int8: bool) -> list[Figure]:
        """Return the figures of the integer engines, or of the float ones."""
        return [figure for figure in self.figures if figure.is_int8 == is_int8]


@dataclass(frozen=True)
class SweepReport:
    """A whole sweep; the fields are those of ``report.Report``."""

    machine: dict[str, object]
    versions: dict[str, str]
    settings: dict[str, object]
    operators: tuple[OperatorReport, ...]

    def engines(self, is_int8: bool) -> list[str]:
        """Return the names of the engines of a kind that built anything, in order."""
        return list(dict.fromkeys(row.engine for report in self.operators for row in report.of_kind(is_int8)))


def _table(report: SweepReport, is_int8: bool) -> Table:
    engines = report.engines(is_int8)
    rows = []
    for operator in report.operators:
        figures = {figure.engine: figure for figure in operator.of_kind(is_int8)}
        peers = [figure.gmacs for figure in figures.values() if figure.is_peer and figure.is_held]
        (ours,) = [figure.gmacs for figure in figures.values() if not figure.is_peer] or [None]
        peak = operator.peaks[is_int8]
        rows.append(
            (
                *(operator.operator, operator.network, f"{operator.macs / 1e6:.1f}"),
                *(_cell(figures.get(engine)) for engine in engines),
                f"{peak:.0f}",
                "" if ours is None else f"{100 * ours / peak:.0f} %",
                "" if ours is None or not peers else f"{ours / max(peers):.2f}",
            )
        )
    return Table(("operator", "network", "MMAC", *engines, "peak", "of peak", "vs peers"), rows)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    return f"{figure.gmacs:.0f}{'' if figure.is_held else '*'}"


def _tables(report: SweepReport) -> Iterator[tuple[str, Table]]:
    for is_int8, title in TITLES.items():
        if report.engines(is_int8):
            yield title, _table(report, is_int8)


def _failures(report: SweepReport) -> list[str]:
    return [
        f"{engine} could not build {operator.operator}: {error}"
        for operator in report.operators
        for engine, error in operator.failures.items()
    ]


def show(report: SweepReport, console: Console) -> None:
    """Print the tables."""
    for line in facts(report.machine, report.settings, report.versions):
        console.print(line)
    for title, table in _tables(report):
        console.print(f"\n{title}")
        console.print(table.to_terminal())
    for line in (*_failures(report), f"\n{NOTE}"):
        console.print(line)


def to_markdown(report: SweepReport, picture: str) -> str:
    """Return the tables as Markdown, with the plot of that file name."""
    lines = [f"- {fact}" for fact in facts(report.machine, report.settings, report.versions)]
    for title, table in _tables(report):
        lines += ["", f"### {title}", "", *table.to_markdown()]
    lines += [line for failure in _failures(report) for line in ("", failure)]
    return "\n".join([*lines, "", f"![GMAC/s and peaks]({picture})", "", NOTE]) + "\n"


def to_json(report: SweepReport) -> str:
    """Return every figure, unrounded."""
    record = dataclasses.asdict(report)
    for operator in record["operators"]:
        operator["peaks"] = {
            "int8" if is_int8 else "float": gmacs for is_int8, gmacs in operator["peaks"].items()
        }
    return json.dumps(record, indent=2) + "\n"


def plot(report: SweepReport, file: Path) -> None:
    """Draw each engine's GMAC/s an operator, and the peak as a line, integers on the left and floats on the right."""
    from matplotlib.figure import Figure as Canvas

    kinds = [is_int8 for is_int8 in TITLES if report.engines(is_int8)]
    names = [operator.operator for operator in report.operators]
    canvas = Canvas(figsize=(6 * len(kinds), 1.5 + 0.28 * len(names)), layout="constrained")
    panels = canvas.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for panel, is_int8 in zip(panels, kinds, strict=True):
        for engine, marker in zip(report.engines(is_int8), "s^o", strict=False):
            found = [
                (figure.gmacs, name)
                for name, operator in zip(names, report.operators, strict=True)
                for figure in operator.of_kind(is_int8)
                if figure.engine == engine
            ]
            panel.plot(*zip(*found, strict=True), marker, label=engine, alpha=0.8)
        peaks = [operator.peaks[is_int8] for operator in report.operators]
        panel.step(peaks, names, where="mid", color="black", linewidth=1, label="peak")
        panel.set(xlabel=TITLES[is_int8], xlim=(0, None))
        panel.grid(axis="x", alpha=0.3)
        panel.legend(loc="lower left", fontsize="small")
    panels[0].invert_yaxis()
    canvas.savefig(file, dpi=80)
