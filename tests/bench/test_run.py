"""The command: its arguments, its cache, and a whole run with engines made for the test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from tvmq.bench import engines, machine, run
from tvmq.bench.datasets import Split
from tvmq.bench.engines import Built, Engine, Settings
from tvmq.bench.latency import Latency
from tvmq.bench.subjects import Model, Subject
from tvmq.errors import TvmqError

SETTINGS = Settings(threads=1, target="llvm", isa="native")


@pytest.fixture
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
    """Samples that are their own logits, one class wrong among four; the cache is a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    samples = np.eye(4, dtype=np.float32).reshape(4, 1, 1, 4)
    data = Split(samples[:2], samples, np.array([0, 1, 2, 0]))
    path = tmp_path / "model.onnx"
    path.write_bytes(b"model")
    return Subject(Model("toy", "model.onnx", "x", lambda root, limit: data), path, data)


def _engine(name: str, is_peer: bool, calls: list[str], factor: float = 1.0) -> Engine:
    def build(subject: Subject, settings: Settings, folder: Path) -> Built:
        def answer(sample: np.ndarray) -> np.ndarray:
            calls.append(name)
            return sample.reshape(1, -1) * factor

        return Built(answer, "any", lambda sample, number: 0.5)

    return Engine(name, ("numpy",), not is_peer, is_peer, build)


def test_a_whole_run(subject: Subject) -> None:
    calls: list[str] = []
    engines = [_engine("peer", True, calls), _engine("ours", False, calls, factor=-1.0)]
    with Progress(disable=True) as progress:
        report = run.run_model(subject, engines, SETTINGS, 2, progress)
    peer, ours = report.rows
    assert (report.model, report.calibration_samples, report.evaluated_samples) == ("toy", 2, 4)
    assert (peer.accuracy.top1, peer.accuracy.agreement) == (0.75, 1.0)
    assert ours.accuracy.cosine == pytest.approx(-1.0) and ours.bare == Latency(500.0, 0.0)


def _failing(name: str, is_peer: bool) -> Engine:
    def build(subject: Subject, settings: Settings, folder: Path) -> Built:
        raise ValueError("no such operator\nand more")

    return Engine(name, ("numpy",), True, is_peer, build)


def test_a_peer_that_fails_is_reported_and_the_others_go_on(subject: Subject) -> None:
    engines = [_engine("peer", True, []), _failing("broken", True), _engine("ours", False, [])]
    with Progress(disable=True) as progress:
        report = run.run_model(subject, engines, SETTINGS, 1, progress)
    assert [row.engine for row in report.rows] == ["peer", "ours"]
    assert report.failures == {"broken": "ValueError: no such operator"}


@pytest.mark.parametrize(
    "engines", [[_failing("reference", True)], [_engine("peer", True, []), _failing("ours", False)]]
)
def test_our_own_failure_and_the_reference_end_the_run(subject: Subject, engines: list[Engine]) -> None:
    with Progress(disable=True) as progress, pytest.raises(ValueError, match="no such operator"):
        run.run_model(subject, engines, SETTINGS, 1, progress)


def test_a_peer_is_evaluated_once_and_we_every_time(subject: Subject) -> None:
    counts = []
    for _ in range(2):
        calls: list[str] = []
        engines = [_engine("peer", True, calls), _engine("ours", False, calls)]
        with Progress(disable=True) as progress:
            run.run_model(subject, engines, SETTINGS, 1, progress)
        # Evaluation comes first, one engine after the other; timing ends it by calling the peer.
        evaluated = calls[: len(subject.data.samples)]
        counts.append(evaluated.count("peer"))
        assert calls.count("ours") > len(subject.data.samples)
    assert counts == [4, 0]


def test_the_cache_knows_settings_and_data_apart(subject: Subject, tmp_path: Path) -> None:
    engine = _engine("peer", True, [])
    other_settings = Settings(threads=1, target="llvm", isa="avx2")
    other_data = Subject(subject.model, subject.path, Split(subject.data.samples, *_rest(subject.data)))
    folders = {
        engines.folder_for(engine, subject, SETTINGS),
        engines.folder_for(engine, subject, other_settings),
        engines.folder_for(engine, other_data, SETTINGS),
        engines.folder_for(_engine("another", True, []), subject, SETTINGS),
    }
    assert len(folders) == 4 and all(tmp_path in folder.parents for folder in folders)


def _rest(data: Split) -> tuple[np.ndarray, np.ndarray]:
    return data.samples, data.labels


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "mobilnet"], "unknown model 'mobilnet'; did you mean 'mobilenetv2'"),
        (["--engines", "tvmq int4"], "unknown engine 'tvmq int4'; did you mean 'tvmq int8'"),
        (["--output", "/no/such/folder/stem"], "/no/such/folder is no folder that can be written to"),
        (["--threads", "0"], "--threads 0: expected a positive number"),
        (["--isa", "avx3", "--engines", "tvmq int8"], "unknown instruction set 'avx3'; did you mean 'avx2'?"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "versions", lambda packages: {})
    assert run.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_a_missing_peer_says_what_to_install() -> None:
    with pytest.raises(TvmqError, match=r"no-such-peer is not installed: pip install 'tvmq\[bench\]'"):
        machine.versions(("no-such-peer",))


def test_missing_data_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(machine, "versions", lambda packages: {})
    monkeypatch.setenv("TVMQ_DATA", str(tmp_path))
    assert run.main(["--models", "kws", "--target", "llvm"]) == 1
    assert f"model 'kws': no file {tmp_path / 'mlperf_tiny/kws_dscnn_fp32.onnx'}" in capsys.readouterr().err
