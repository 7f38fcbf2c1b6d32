"""Methods by models: every row is an option that exists, what was measured is kept, and the page is renewed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from tvmq.bench import methods
from tvmq.bench.accuracy import Accuracy
from tvmq.bench.datasets import Split
from tvmq.bench.engines import Built, Engine, Settings
from tvmq.bench.method_rows import AVX2, METHODS, PEER_GROUP, PEER_METHODS, Method
from tvmq.bench.method_tables import (
    Measured,
    MethodReport,
    ModelMethods,
    renewed,
    table_of,
    to_json,
    to_markdown,
)
from tvmq.bench.subjects import Model, Subject
from tvmq.passes.annotate.options import BIAS_CORRECTIONS, QuantizeOptions
from tvmq.passes.calibrate.observers import OBSERVERS, WEIGHT_OBSERVERS
from tvmq.passes.hub.schemes import SCHEMES

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
SETTINGS = Settings(threads=1, target="llvm", isa="native")
MACHINE = {"cpu": "a CPU"}


def _engine(name: str, answer) -> Engine:
    return Engine(name, ("numpy",), True, True, lambda subject, settings, folder: Built(answer, "any"))


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
    """The digits example; the reference answers the same for each image, and the cache is a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scores = np.linspace(0.0, 1.0, 10, dtype=np.float32)[None]
    monkeypatch.setattr(methods, "REFERENCE", _engine("reference", lambda sample: scores))
    images = np.load(DIGITS / "calibration.npz")["image"]
    data = Split(images[:8], images[8:12], np.full(4, 9))
    model = Model("digits", "digits.onnx", "image", lambda root, limit: data)
    return Subject(model, DIGITS / "digits.onnx", data)


def test_rows_are_unique_and_valid():
    names = [method.name for method in METHODS] + [engine.name for engine in PEER_METHODS]
    assert len(names) == len(set(names))
    for method in METHODS:
        QuantizeOptions(**method.options)
        assert method.scheme in SCHEMES
    said = [method.options for method in METHODS]
    assert {options.get("observer") for options in said} >= {*OBSERVERS}
    assert {options.get("weight_observer") for options in said} >= {*WEIGHT_OBSERVERS} - {"minmax"}
    assert {options.get("bias_correction") for options in said} >= {*BIAS_CORRECTIONS}


def test_a_run_is_resumed(digits: Subject, monkeypatch: pytest.MonkeyPatch):
    rows = [Method("A", "one"), Method("B", "two", target=AVX2)]

    def failing(sample):
        raise ValueError("no such operator\nand more")

    peers = [_engine("peer", lambda sample: np.eye(10, dtype=np.float32)[:1]), _engine("failing", failing)]

    def run() -> ModelMethods:
        with Progress(disable=True) as progress:
            return methods.run_model(digits, rows, peers, SETTINGS, False, progress)

    first = run()
    assert (first.model, first.calibration_samples, first.evaluated_samples) == ("digits", 8, 4)
    assert first.exact == Accuracy(1.0, 1.0, pytest.approx(1.0))
    assert [(row.group, row.method) for row in first.rows] == [
        ("A", "one"),
        ("B", "two"),
        ("Other tools", "peer"),
    ]
    assert first.rows[2].accuracy == Accuracy(0.0, 0.0, 0.0)
    assert first.failures == {"failing": "ValueError: no such operator"}
    # Two targets answer alike.
    one, two = (row.accuracy for row in first.rows[:2])
    assert one.cosine == pytest.approx(two.cosine, abs=0.01)
    monkeypatch.setattr(methods, "build", lambda subject, method: pytest.fail("measured again"))
    assert run() == first
    rows = [Method("A", "another", {"observer": "minmax"})]
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        run()


def test_only_what_is_kept(digits: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(methods, "load_subject", lambda name, limit: digits)
    monkeypatch.setattr(methods, "build", lambda subject, method: pytest.fail("measured"))
    stem = tmp_path / "m"
    command = ["--models", "mnist", "--methods", "defaults", "--kept", "--output", str(stem)]
    assert methods.main(command) == 0
    (model,) = json.loads(stem.with_suffix(".json").read_text())["models"]
    assert model["rows"] == [] and model["exact"]["agreement"] == 1.0


def _report() -> MethodReport:
    good, bad = Accuracy(0.91, 0.987, 0.99949), Accuracy(None, 0.5, 0.25)
    rows = (Measured("A", "one", good, 1.5), Measured("B", "two", bad), Measured(PEER_GROUP, "three", good))
    exact = Accuracy(0.92, 1.0, 1.0)
    return MethodReport(
        MACHINE,
        {"tvmq": "0.1"},
        (
            ModelMethods("first", 100, 400, exact, rows),
            ModelMethods("second", 100, 900, exact, rows[:1], {"three": "ValueError: no"}),
        ),
    )


def test_the_table():
    assert table_of(_report()).to_markdown() == [
        "| method | first, 400 samples | second, 900 samples |",
        "| --- | ---: | ---: |",
        "| float | 92.0; 100.0; 1.0000 | 92.0; 100.0; 1.0000 |",
        "| **A** |  |  |",
        "| one | 91.0; 98.7; 0.9995 | 91.0; 98.7; 0.9995 |",
        "| **B** |  |  |",
        "| two | 50.0; 0.2500 |  |",
        "| **Other tools** |  |  |",
        "| three | 91.0; 98.7; 0.9995 | failed |",
    ]
    text = to_markdown(_report())
    assert "Calibrated on 100 other samples. a CPU; tvmq 0.1." in text
    assert text.endswith("- three could not quantize second: ValueError: no\n")
    assert json.loads(to_json(_report()))["models"][0]["rows"][0]["seconds"] == 1.5


def test_a_page_is_renewed(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- methods -->\nold\n<!-- end -->\nafter\n")
    assert renewed(page, "a \\1 b\n") == "before\n<!-- methods -->\na \\1 b\n<!-- end -->\nafter\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "resnet9"], "unknown model 'resnet9'; did you mean 'resnet"),
        (["--methods", "w4a88"], "unknown method 'w4a88'; did you mean 'w4a8'"),
        (["--samples", "0"], "--samples 0: expected a positive number"),
        (["--output", "no/such/folder/stem"], "is no folder that can be written to"),
        (["--page", "no-such-page.md"], "the page 'no-such-page.md' cannot be read"),
        (["--page", __file__], "expected one"),
    ],
)
def test_bad_arguments(capsys, arguments, message):
    assert methods.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_avx2_is_a_target_of_its_own():
    assert {method.target for method in METHODS} == {"llvm -mcpu=native", AVX2}
