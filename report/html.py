"""A report --> one HTML page that needs nothing else: styles, script and data are inside, and its own policy keeps
it from the network."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .records import Figures, LayerRecord

_PAGE = Path(__file__).parent / "page"


def page(report: Figures) -> str:
    """Return the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    times = [layer.milliseconds for layer in report.layers if layer.milliseconds is not None]
    return environment.get_template("page.html.j2").render(
        report=report,
        counts=Counter(layer.status for layer in report.layers).most_common(),
        milliseconds=sum(times) if times else None,
        advised=_by_remedy(report.layers),
        floats=[layer for layer in report.layers if layer.status == "float"],
        data=Markup(_json(report)),
        style=Markup((_PAGE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_PAGE / "page.js").read_text(encoding="utf-8")),
    )


def _by_remedy(layers: Iterable[LayerRecord]) -> dict[str, list[tuple[LayerRecord, str]]]:
    """Return for each remedy the layers that it is for, each with its symptom."""
    found: dict[str, list[tuple[LayerRecord, str]]] = {}
    for layer in layers:
        for advice in layer.advice:
            found.setdefault(advice.remedy, []).append((layer, advice.symptom))
    return found


def _json(report: Figures) -> str:
    """Return what the script reads; no name in it can end the element that holds it."""
    data = {
        "tensors": [_short(dataclasses.asdict(tensor)) for tensor in report.tensors],
        "bars": [_short(dataclasses.asdict(bars)) for bars in report.bars],
        "layers": [_short(dataclasses.asdict(layer)) for layer in report.layers],
    }
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )


def _short(record: dict) -> dict:
    """Return the record with its floats to 7 digits, as many as float32 has."""
    return {
        key: float(f"{value:.7g}") if isinstance(value, float) else value for key, value in record.items()
    }
