"""What ``bench.methods`` measured: as a record, as a table of methods by models, and inside a page."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import TvmqError
from .accuracy import Accuracy
from .method_rows import PEER_GROUP
from .tables import Table

NOTE = (
    "A cell: top-1 in %, the share of samples whose class is the float model's in %, the mean cosine of the logits to "
    "the float model's. The float model is onnxruntime's."
)


@dataclass(frozen=True)
class Measured:
    """One method on one model.

    Attributes
    ----------
    group, method : heading and name.
    accuracy : what was measured.
    seconds : that quantization took, compilation included; None for other tools.
    """

    group: str
    method: str
    accuracy: Accuracy
    seconds: float | None = None


@dataclass(frozen=True)
class ModelMethods:
    """All methods on one model.

    Attributes
    ----------
    model : its name.
    calibration_samples, evaluated_samples : how many there were.
    exact : accuracy of the float model.
    rows : one a method.
    failures : other tools to the error with which they could not quantize it.
    """

    model: str
    calibration_samples: int
    evaluated_samples: int
    exact: Accuracy
    rows: tuple[Measured, ...]
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodReport:
    """A whole run: the machine (``machine.describe``), versions of distributions, and the models."""

    machine: dict[str, object]
    versions: dict[str, str]
    models: tuple[ModelMethods, ...]


def cell(accuracy: Accuracy) -> str:
    """Return an accuracy as the table shows it."""
    top1 = "" if accuracy.top1 is None else f"{100 * accuracy.top1:.1f}; "
    return f"{top1}{100 * accuracy.agreement:.1f}; {accuracy.cosine:.4f}"


def table_of(report: MethodReport) -> Table:
    """Return methods by models, empty where nothing was measured; a row with the name of a group alone opens it."""
    found = {
        (model.model, row.group, row.method): cell(row.accuracy)
        for model in report.models
        for row in model.rows
    }
    names = [model.model for model in report.models]
    found |= {(model.model, PEER_GROUP, tool): "failed" for model in report.models for tool in model.failures}
    groups = [row.group for model in report.models for row in model.rows]
    order = list(dict.fromkeys([*groups, PEER_GROUP]))
    unsorted = dict.fromkeys((group, method) for _, group, method in found)
    keys = sorted(unsorted, key=lambda key: order.index(key[0]))
    rows = [["float", *(cell(model.exact) for model in report.models)]]
    open_group = ""
    for group, method in keys:
        if group != open_group:
            rows.append([f"**{group}**", *("" for _ in names)])
            open_group = group
        rows.append([method, *(found.get((name, group, method), "") for name in names)])
    headings = ["method", *(f"{model.model}, {model.evaluated_samples} samples" for model in report.models)]
    return Table(headings, rows)


def to_markdown(report: MethodReport) -> str:
    """Return the table, how it was made, and what failed."""
    versions = ", ".join(f"{package} {version}" for package, version in report.versions.items())
    calibration = ", ".join(dict.fromkeys(str(model.calibration_samples) for model in report.models))
    failures = [
        f"- {tool} could not quantize {model.model}: {error}"
        for model in report.models
        for tool, error in model.failures.items()
    ]
    lines = [
        *table_of(report).to_markdown(),
        "",
        f"{NOTE} Calibrated on {calibration} other samples. {report.machine['cpu']}; {versions}.",
    ]
    return "\n".join([*lines, *(["", *failures] if failures else [])]) + "\n"


def to_json(report: MethodReport) -> str:
    """Return the whole report as JSON."""
    return json.dumps(dataclasses.asdict(report), indent=1) + "\n"


def renewed(page: Path, text: str, part: str = "methods") -> str:
    """Return a page with its part between ``<!-- methods -->``, or another name, and ``<!-- end -->`` anew.

    Raises
    ------
    TvmqError : the page cannot be read, or has not exactly one such part.
    """
    try:
        before = page.read_text()
    except OSError as error:
        raise TvmqError(f"the page {str(page)!r} cannot be read: {error.strerror}") from error
    # The text goes in as it is: a backslash in it is no reference to a group.
    after, count = re.subn(
        rf"(<!-- {part} -->\n).*?(<!-- end -->)",
        lambda found: found[1] + text + found[2],
        before,
        flags=re.S,
    )
    if count != 1:
        raise TvmqError(f"the page {str(page)!r} has {count} parts '<!-- {part} -->', expected one")
    return after
