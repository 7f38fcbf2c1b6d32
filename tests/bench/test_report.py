"""The tables and the record of a run."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from tvmq.bench.accuracy import Accuracy
from tvmq.bench.latency import Latency
from tvmq.bench.report import ModelReport, Report, Row, show, to_json, to_markdown


def _row(engine: str, ms: float, is_int8: bool = False, is_peer: bool = True, bare=None) -> Row:
    return Row(engine, is_int8, is_peer, "isa", Accuracy(0.8125, 0.9, 0.98765), Latency(ms, 0.25), bare)


ROWS = (
    _row("reference", 8.0),
    _row("peer a", 4.0, is_int8=True),
    _row("peer b", 2.0, is_int8=True),
    _row("ours", 1.0, is_int8=True, is_peer=False, bare=Latency(0.75, 0.0)),
)
MODEL = ModelReport("net", 100, 400, ROWS, {"peer c": "ValueError: no"})
REPORT = Report(
    {"cpu": "a cpu", "instruction_sets": ["avx2", "f16c"]}, {"tvmq": "1.0"}, {"threads": 1}, (MODEL,)
)


@pytest.mark.parametrize(
    ("row", "expected"), [(ROWS[0], (1, 0.25)), (ROWS[1], (2, 0.5)), (ROWS[2], (4, 1)), (ROWS[3], (8, 2))]
)
def test_ratios_are_against_the_reference_and_the_fastest_int8_peer(row: Row, expected) -> None:
    assert MODEL.speed_ups(row) == expected


def test_without_an_int8_peer_there_is_no_such_ratio() -> None:
    assert ModelReport("net", 1, 1, (ROWS[0], ROWS[3])).speed_ups(ROWS[3]) == (8.0, None)


def test_markdown() -> None:
    lines = to_markdown(REPORT).splitlines()
    assert lines[:3] == ["- cpu a cpu, instruction_sets avx2 f16c", "- threads 1", "- tvmq 1.0"]
    assert "### net: calibrated on 100 samples, evaluated on 400 others" in lines
    assert "| ours | 81.2 | 90.0 | 0.9877 |" in lines
    assert "| ours | 1.000 | 0.250 | 0.750 | 8.00 | 2.00 | isa |" in lines
    assert "| reference | 8.000 | 0.250 |  | 1.00 | 0.25 | isa |" in lines
    assert "peer c could not build the model: ValueError: no" in lines
    tables = [line for line in lines if line.startswith("|")]
    assert [line.count("|") for line in tables] == [5] * 6 + [8] * 6


def test_terminal_shows_what_markdown_shows() -> None:
    text = io.StringIO()
    show(REPORT, Console(file=text, width=120))
    for cell in ("a cpu", "net: calibrated", "peer b", "0.9877", "0.750", "8.00", "peer c could not"):
        assert cell in text.getvalue()


def test_json_keeps_every_digit() -> None:
    record = json.loads(to_json(REPORT))
    assert record["models"][0]["rows"][3]["accuracy"]["cosine"] == 0.98765
    assert record["models"][0]["rows"][3]["bare"]["median_ms"] == 0.75
