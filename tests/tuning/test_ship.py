"""Shipped records: the best of each kernel, merged with those that already ship, used without a flag."""

from __future__ import annotations

import json

import pytest

import tvmq
from tvmq import tuning_logs
from tvmq.schedules.records import MANIFEST, RECORDS, WORKLOADS, read_records
from tvmq.targets.features import row_of
from tvmq.tuning.ship import main, ship
from tvmq.tuning.store import Store


@pytest.fixture
def measured(tasks, target, tmp_path):
    """Return a function that writes a folder with these times of candidates of the first tasks."""
    import numpy as np
    from tvm.s_tir import Schedule

    from tvmq.schedules.cpu.contraction import schedule_contraction
    from tvmq.tuning.candidates import Candidates
    from tvmq.tuning.child import Measured

    def write(name, times):
        store = Store(tmp_path / name, target)
        for task, seconds in zip(tasks, times, strict=False):

            def rule(decide, task=task):
                sch = Schedule(task.func)
                schedule_contraction(sch, row_of(target), 1, decide)
                return sch

            candidates = Candidates(rule, np.random.default_rng(0))
            for second in seconds:
                store.add(task, candidates.draw(), Measured((second,) if second else (), ""))
        return tmp_path / name

    return write


def test_the_best_of_each_kernel_ships(measured, tasks, target, tmp_path):
    first = measured("first", [(3.0, 2.0, 4.0), (5.0,), (None,)])
    second = measured("second", [(2.5, None), (1.0, 6.0)])
    root = tmp_path / "shipped"
    output = ship([first], target, root)
    assert output == root / row_of(target).name / "1-threads"
    assert ship([second], target, root) == output
    found = read_records(output, row_of(target), 1)
    assert {key: [record.seconds for record in records] for key, records in found.by_workload.items()} == {
        tasks[0].hash: [2.0],
        tasks[1].hash: [1.0],
    }
    assert len((output / WORKLOADS).read_text().splitlines()) == 2
    assert len((output / RECORDS).read_text().splitlines()) == 2
    assert "cpu" in json.loads((output / MANIFEST).read_text())


def test_compilation_uses_what_ships(measured, quantized, target, tmp_path, monkeypatch, caplog):
    output = ship([measured("first", [(1.0,)])], target, tmp_path)
    monkeypatch.setattr(tuning_logs, "__file__", str(tmp_path / "__init__.py"))
    assert tuning_logs.shipped_records(row_of(target), 1) == output
    assert tuning_logs.shipped_records(row_of(target), 3) is None
    (output / RECORDS).write_text("no record\n")
    tvmq.compile(quantized, target)
    assert "line 1 is no JSON" in caplog.text


def test_command(measured, target, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tvmq.tuning.ship.SHIPPED", tmp_path / "shipped")
    main([str(measured("first", [(1.0,)])), "--target", "llvm -mcpu=native -num-cores=1"])
    assert capsys.readouterr().out.strip().endswith("1-threads")
