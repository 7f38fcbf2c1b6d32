"""Tuning: what is measured is kept at once, a later run goes on, and records are used by compilation."""

from __future__ import annotations

import errno
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import tvm

import tvmq
from tvmq.errors import TvmqError
from tvmq.schedules.records import MANIFEST, RECORDS, WORKLOADS, apply_records, read_records
from tvmq.targets.features import row_of
from tvmq.tuning import store as store_module
from tvmq.tuning import tune as tune_module
from tvmq.tuning.child import Measured
from tvmq.tuning.measure import MeasureOptions
from tvmq.tuning.store import Store
from tvmq.tuning.tune import TuneOptions, tune

pytest.importorskip("xgboost", reason="tuning needs the extra tune")

MEASURING = MeasureOptions(number=1, repeat=1, timeout=30.0, parallel=2)


class Watcher:
    """Notes what tuning tells."""

    def __init__(self) -> None:
        self.trials: list[tuple[str, Measured]] = []
        self.left: list[int] = []

    def trial(self, search, measured):
        self.trials.append((search.task.name, measured))

    def round(self, searches, current, left):
        self.left.append(left)


@pytest.fixture
def watcher():
    return Watcher()


def instant(func, target):
    """Stand in for a measurement: a number that the function's text gives."""
    seconds = 1e-6 * (1 + len(func.script()) % 97)
    return lambda number, repeat, minimum_ms: [seconds] * repeat


def lines_of(path: Path) -> list:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_trials_are_shared_among_the_kernels_and_kept(tasks, target, watcher, tmp_path):
    options = TuneOptions(trials=16 * len(tasks) + 5)
    searches = tune(tasks, target, tmp_path, watcher, options=options, measuring=MEASURING, prepare=instant)
    assert {search.task.name for search in searches if search.trials} == {task.name for task in tasks}
    assert all(search.default is not None and search.best <= search.default for search in searches)
    records = lines_of(tmp_path / RECORDS)
    assert len(records) == len(watcher.trials) == options.trials - watcher.left[-1]
    assert [line[0] for line in lines_of(tmp_path / WORKLOADS)] == [task.hash for task in tasks]
    assert json.loads((tmp_path / MANIFEST).read_text())["tvm"] == tvm.__version__
    by_workload = read_records(tmp_path, row_of(target), 1).by_workload
    for search in searches:
        assert min(record.seconds for record in by_workload[search.task.hash]) == search.best


def test_a_small_space_is_searched_completely_and_then_tuning_ends(tasks, target, watcher, tmp_path):
    options = TuneOptions(trials=100_000)
    (search,) = tune(tasks[:1], target, tmp_path, watcher, options=options, prepare=instant)
    assert search.is_exhausted and len(watcher.trials) == search.trials < 1000
    traces = [json.dumps(record[1][0]) for record in lines_of(tmp_path / RECORDS)]
    assert len(set(traces)) == len(traces)
    again = Watcher()
    (search,) = tune(tasks[:1], target, tmp_path, again, options=options, prepare=instant)
    assert not again.trials and search.trials == len(traces) and search.best < math.inf


def test_what_was_measured_is_not_measured_again(tasks, target, tmp_path):
    """A run that is stopped and one that goes on measure what one run would have, each candidate once."""

    class Stopped(Watcher):
        def trial(self, search, measured):
            super().trial(search, measured)
            if len(self.trials) == 7:
                raise KeyboardInterrupt

    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(KeyboardInterrupt):
        tune(tasks[:1], target, first, Stopped(), prepare=instant)
    assert len(lines_of(first / RECORDS)) == 7
    later = Watcher()
    (search,) = tune(tasks[:1], target, second, later, prepare=instant, earlier=first)
    assert search.is_exhausted and search.trials == 7 + len(later.trials)
    assert search.default is not None


def test_a_line_that_was_cut_off_is_ended(tasks, target, watcher, tmp_path, caplog):
    options = TuneOptions(trials=3)
    tune(tasks[:1], target, tmp_path, watcher, options=options, prepare=instant)
    text = (tmp_path / RECORDS).read_text()
    (tmp_path / RECORDS).write_text(text[:-20])
    (search,) = tune(tasks[:1], target, tmp_path, watcher, options=options, prepare=instant)
    assert f"{RECORDS}, line 3 is no JSON" in caplog.text
    assert search.trials == 5
    assert len((tmp_path / RECORDS).read_text().splitlines()) == 6


def test_failures_are_told_kept_and_not_tried_again(tasks, target, watcher, tmp_path):
    def refuse(func, target):
        raise ValueError("no")

    options = TuneOptions(trials=4)
    (search,) = tune(tasks[:1], target, tmp_path, watcher, options=options, prepare=refuse)
    assert [measured.error for _, measured in watcher.trials] == ["ValueError: no"] * 4
    assert search.best == math.inf
    assert read_records(tmp_path, row_of(target), 1).best(tasks[0].hash) is None
    (search,) = tune(tasks[:1], target, tmp_path, watcher, options=options, prepare=instant)
    assert search.trials == 8 and search.best < math.inf


def test_early_stopping(tasks, target, watcher, tmp_path):
    def same(func, target):
        return lambda number, repeat, minimum_ms: [1.0] * repeat

    options = TuneOptions(trials=500, early_stopping=10)
    (search,) = tune(tasks[:1], target, tmp_path, watcher, options=options, prepare=same)
    assert search.trials == 16 and not search.is_exhausted


def test_compilation_uses_the_fastest(quantized, tasks, target, watcher, tmp_path):
    """What is compiled is the record's schedule, and gives the same integers as the default."""
    row = row_of(target)
    searches = tune(tasks, target, tmp_path, watcher, options=TuneOptions(trials=40), prepare=instant)
    improved = next(search for search in searches if search.best < search.default)
    kernel = tvm.IRModule({"main": improved.task.func})
    tuned = apply_records(kernel, read_records(tmp_path, row, 1))["main"]
    assert instant(tuned.without_attr("tirx.is_scheduled"), target)(1, 1, 0) == [improved.best]

    sample = {"image": np.random.default_rng(0).random((1, 1, 8, 8), dtype=np.float32)}
    options = tvmq.CompileOptions(tuning_records=tmp_path)
    found = tvmq.compile(quantized, target, options=options).run(sample)
    for name, expected in tvmq.compile(quantized, target).run(sample).items():
        np.testing.assert_array_equal(found[name], expected)


def test_full_disk(tasks, target, watcher, tmp_path, monkeypatch):
    """What was measured before stays readable."""
    full = {"after": 2}
    append = Store._append

    def fails(self, name, value):
        if name == RECORDS:
            full["after"] -= 1
        if full["after"] < 0:
            with store_module._writing(self.folder):
                raise OSError(errno.ENOSPC, "No space left on device")
        append(self, name, value)

    monkeypatch.setattr(Store, "_append", fails)
    with pytest.raises(TvmqError, match=f"cannot write .*{tmp_path.name}.*No space left"):
        tune(tasks[:1], target, tmp_path, watcher, prepare=instant)
    assert len(lines_of(tmp_path / RECORDS)) == 2


def test_an_output_of_another_version_is_refused(tasks, target, watcher, tmp_path):
    (tmp_path / MANIFEST).write_text('{"tvm": "0.1"}')
    with pytest.raises(TvmqError, match=r"TVM 0\.1.*another folder"):
        tune(tasks, target, tmp_path, watcher, prepare=instant)


def test_an_output_that_is_a_file_is_refused(tasks, target, watcher, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TvmqError, match="cannot write tuning records to"):
        tune(tasks, target, tmp_path / "file", watcher, prepare=instant)


def test_a_model_without_tasks_is_refused(target, watcher, tmp_path):
    with pytest.raises(TvmqError, match="no kernel that can be tuned"):
        tune([], target, tmp_path, watcher)


def test_xgboost_is_asked_for(tasks, target, watcher, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(TvmqError, match=r'pip install "tvmq\[tune\]"'):
        tune(tasks, target, tmp_path, watcher)


def test_the_stock_intrinsics_are_not_imported(tasks, target, watcher, tmp_path):
    assert tune_module.tune(
        tasks[:1], target, tmp_path, watcher, options=TuneOptions(trials=1), prepare=instant
    )
    assert "tvm.s_tir.tensor_intrin" not in sys.modules


@pytest.mark.parametrize("bad", [{"trials": 0}, {"early_stopping": 0}])
def test_options_are_checked(bad):
    with pytest.raises(TvmqError, match=next(iter(bad))):
        TuneOptions(**bad)
