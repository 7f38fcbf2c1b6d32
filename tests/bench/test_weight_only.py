"""The table of compressed weights: every row is an option that exists, and a run on the digits example."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from tvmq.bench import weight_only
from tvmq.bench.datasets import Split
from tvmq.bench.subjects import Model, Subject
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.weight_only.compress import CompressWeights

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


@pytest.fixture(scope="module")
def digits() -> Subject:
    images = np.load(DIGITS / "calibration.npz")["image"]
    data = Split(images[:8], images[8:20], np.zeros(12, np.int64))
    model = Model("digits", "digits.onnx", "image", lambda root, limit: data)
    return Subject(model, DIGITS / "digits.onnx", data)


@pytest.fixture(scope="module")
def rows(digits) -> dict[str, weight_only.Measured]:
    ways = {"8 bits": {"weight_bits": 8}, "1 bit": {"weight_bits": 1}}
    with Progress(disable=True) as progress:
        return weight_only.measured(digits, ways, 1, progress)


@pytest.mark.parametrize("way", weight_only.WAYS)
def test_every_way_is_valid(way):
    CompressWeights(get_scheme("weight-only"), QuantizeOptions(**weight_only.WAYS[way]))


def test_the_page_is_renewed(digits, rows, monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- weight-only -->\nold\n<!-- end -->\nbehind\n")
    monkeypatch.setattr(weight_only, "measured", lambda *arguments: rows)
    monkeypatch.setattr(weight_only, "load_subject", lambda name, limit: digits)
    assert weight_only.main(["--page", str(page)]) == 0
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "behind")
    assert lines[2].startswith("| method | package MB | mod.so MB | ms | no samples | 8 samples |")
    assert [line.split(" | ")[0] for line in lines[4:7]] == ["| float", "| 8 bits", "| 1 bit"]


def test_fewer_bits_are_smaller_and_worse(rows):
    exact, eight, one = rows.values()
    assert exact.given.agreement == exact.without.agreement == 1.0
    assert exact.package_bytes > eight.package_bytes > one.package_bytes
    assert eight.given.cosine > 0.9999 > one.given.cosine
    for row in (exact, eight, one):
        assert row.library_bytes < row.package_bytes and row.latency.median_ms > 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--samples", "0"], "samples"),
        (["--model", "mobilnetv2"], "unknown model 'mobilnetv2'"),
        (["--page", "absent.md"], "the page 'absent.md' cannot be read"),
    ],
)
def test_bad_arguments(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert weight_only.main(arguments) == 1
    assert message in capsys.readouterr().err
