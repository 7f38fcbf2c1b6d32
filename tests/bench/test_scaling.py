"""Thread scaling: its arguments, its table, and what engines are asked to build."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tvmq.bench import machine, scaling
from tvmq.bench.datasets import Split
from tvmq.bench.engines import Built, Engine, Settings
from tvmq.bench.latency import Latency
from tvmq.bench.scaling import Row, ScalingReport
from tvmq.bench.subjects import MODELS, Model, Subject


@pytest.fixture
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    samples = np.ones((1, 2), np.float32)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"model")
    data = Split(samples, samples, None)
    return Subject(Model("toy", path.name, "x", lambda root, limit: data), path, data)


def _engine(asked: list[tuple[Settings, Path]]) -> Engine:
    def build(subject: Subject, settings: Settings, folder: Path) -> Built:
        asked.append((settings, folder))
        return Built(lambda sample: sample, "any")

    return Engine("ours", ("numpy",), True, False, build)


def test_each_number_of_threads_is_built_once_from_one_folder(subject: Subject) -> None:
    asked: list[tuple[Settings, Path]] = []
    settings = Settings(1, "llvm", "native")
    (row,) = scaling.run_model(subject, [_engine(asked)], [2, 1, 2], settings, rounds=1)
    assert [(given.threads, given.target) for given, _ in asked] == [
        (1, "llvm -num-cores=1"),
        (2, "llvm -num-cores=2"),
    ]
    assert len({folder for _, folder in asked}) == 1
    assert (row.model, row.engine, list(row.latencies)) == ("toy", "ours", [1, 2])


def test_table() -> None:
    row = Row("net", "ours", {1: Latency(6.0, 0.1), 2: Latency(4.0, 0.1), 4: Latency(2.0, 0.1)})
    table = scaling.table_of(ScalingReport({}, {}, {}, (row,)))
    assert table.to_markdown() == [
        "| model | engine | ms on 1 | ms on 2 | ms on 4 | x on 2 | x on 4 |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| net | ours | 6.000 | 4.000 | 2.000 | 1.50 | 3.00 |",
    ]


def test_a_whole_run(subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The run takes the variable away, for it would override the target; the test's end brings it back.
    monkeypatch.setenv("TVM_NUM_THREADS", "1")
    monkeypatch.setitem(MODELS, "toy", subject.model)
    monkeypatch.setattr(scaling, "ENGINES", {"ours": _engine([])})
    monkeypatch.setattr(scaling, "load_subject", lambda name, limit: subject)
    stem = tmp_path / "scaling"
    arguments = ["--models", "toy", "--engines", "ours", "--rounds", "1", "--target", "llvm"]
    assert scaling.main([*arguments, "--output", str(stem)]) == 0
    (row,) = json.loads(stem.with_suffix(".json").read_text())["rows"]
    assert list(row["latencies"]) == ["1", "2"] and row["latencies"]["1"]["median_ms"] > 0
    assert "| model | engine | ms on 1 | ms on 2 | x on 2 |" in stem.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "2"], "--threads 2: expected two or more positive numbers"),
        (["--threads", "0", "1"], "--threads 0 1: expected two or more positive numbers"),
        (["--models", "resnet51"], "unknown model 'resnet51'; did you mean 'resnet50'"),
        (["--engines", "tvmq"], "unknown engine 'tvmq'; did you mean 'tvmq int8'"),
        (["--rounds", "0"], "--rounds 0: expected a positive number"),
        (["--output", "/no/such/folder/stem"], "/no/such/folder is no folder that can be written to"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "versions", lambda packages: {})
    assert scaling.main(arguments) == 1
    assert message in capsys.readouterr().err
