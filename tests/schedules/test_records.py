"""Tuned records: used where a kernel has one for the target's row; what cannot be used is named and left out."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.s_tir import Schedule
from tvm.s_tir.meta_schedule.database import JSONDatabase, TuningRecord

from tvmq.errors import TvmqError
from tvmq.schedules import pipeline
from tvmq.schedules.records import MANIFEST, RECORDS, WORKLOADS, read_records
from tvmq.schedules.workload import hash_of, workload_of
from tvmq.targets.features import row_of

HASWELL = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "haswell"}
TARGET = tvm.target.Target(HASWELL)
ROW = row_of(TARGET)


def model(addend=1.0, size=64) -> tvm.IRModule:
    """Return ``relu(x) + addend`` over ``size`` numbers, which becomes one function."""
    x = relax.Var("x", relax.TensorType((size,), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.emit(relax.op.add(relax.op.nn.relu(x), relax.const(np.float32(addend))))
            out = builder.emit_output(y)
        builder.emit_func_output(out)
    return builder.get()


def kernel(addend=1.0, size=64) -> tvm.tirx.PrimFunc:
    mod, _ = pipeline.to_kernels(model(addend, size), TARGET, ROW)
    (func,) = [func for func in mod.functions.values() if isinstance(func, tvm.tirx.PrimFunc)]
    return func


def record(folder, mark=1, seconds=1e-6, target=TARGET):
    """Write a record that marks the loop of the model's one function."""
    database = JSONDatabase(str(folder / WORKLOADS), str(folder / RECORDS))
    workload = workload_of(kernel())
    sch = Schedule(workload)
    block = sch.get_child_blocks(sch.get_sblock("root"))[-1]
    sch.annotate(sch.get_loops(block)[0], "tuned", mark)
    database.commit_tuning_record(
        TuningRecord(sch.trace, database.commit_workload(workload), [seconds], target)
    )


def mark_in(mod) -> int | None:
    """Return what the record that was used marked the loop with."""
    for mark in (1, 2, 3):
        if f'"tuned": {mark}' in mod.script():
            return mark
    return None


def marked(folder, addend=1.0, target=TARGET):
    return mark_in(pipeline.build(model(addend), target, row_of(target), folder).mod)


def test_the_fastest_record_is_used(tmp_path):
    for mark, seconds in ((1, 3e-6), (2, 1e-6), (3, 2e-6)):
        record(tmp_path, mark, seconds)
    built = pipeline.build(model(), TARGET, ROW, tmp_path)
    assert mark_in(built.mod) == 2
    x = np.linspace(-1, 1, 64, dtype=np.float32)
    result = relax.VirtualMachine(built.executable, tvm.cpu())["main"](tvm.runtime.tensor(x))
    np.testing.assert_array_equal(result.numpy(), np.maximum(x, 0) + 1)


def test_a_record_of_a_failure_is_not_used(tmp_path):
    record(tmp_path, seconds=1e10)
    assert marked(tmp_path) is None


def test_without_records_the_rules_schedule():
    assert mark_in(pipeline.build(model(), TARGET, ROW).mod) is None


def test_other_constants_are_the_same_kernel(tmp_path):
    record(tmp_path)
    assert marked(tmp_path, addend=7.25) == 1
    workload = workload_of(kernel(1.0))
    assert hash_of(workload) == hash_of(workload_of(kernel(7.25)))
    assert json.loads((tmp_path / WORKLOADS).read_text())[0] == hash_of(workload)


def test_another_shape_is_another_kernel():
    assert hash_of(workload_of(kernel(size=64))) != hash_of(workload_of(kernel(size=65)))


def test_attributes_that_do_not_change_the_row_do_not_matter(tmp_path):
    record(tmp_path)
    assert marked(tmp_path, target=tvm.target.Target({**HASWELL, "mcpu": "znver2"})) == 1


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({**HASWELL, "mcpu": "skylake-avx512"}, "x86-avx512 with 4 threads"),
        ({**HASWELL, "num-cores": 1}, "x86-avx2 with 1 thread,"),
        ({"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a53"}, "aarch64-neon"),
        ({"kind": "llvm", "mtriple": "riscv64-linux-gnu"}, "riscv64"),
    ],
    ids=["cpu", "threads", "architecture", "no row"],
)
def test_records_of_another_target_are_named_and_ignored(tmp_path, caplog, config, named):
    record(tmp_path, 1, 1e-9, tvm.target.Target(config))
    assert marked(tmp_path) is None
    assert named in caplog.text and str(tmp_path) in caplog.text and "ignored" in caplog.text


def test_a_folder_may_hold_records_of_many_targets(tmp_path, caplog):
    record(tmp_path, 1, 1e-9, tvm.target.Target({**HASWELL, "mcpu": "skylake-avx512"}))
    record(tmp_path, 2, 1e-6)
    assert marked(tmp_path) == 2
    assert not caplog.text


def test_records_of_another_version_are_named_and_ignored(tmp_path, caplog):
    record(tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps({"tvm": "0.1"}))
    assert marked(tmp_path) is None
    assert "of TVM 0.1" in caplog.text and str(tmp_path) in caplog.text


@pytest.mark.parametrize(
    "line", ["[0, [[", "{}", "7", "[0]", "[9, [[[], []], [1e-6], null, null]]", '"\\u0000"']
)
def test_a_bad_line_is_skipped_with_its_number(tmp_path, caplog, line):
    record(tmp_path)
    text = (tmp_path / RECORDS).read_text()
    (tmp_path / RECORDS).write_text(f"{text}{line}\n{text}")
    with caplog.at_level(logging.WARNING):
        records = read_records(tmp_path, ROW, 4)
    assert [len(found) for found in records.by_workload.values()] == [2]
    assert f"{RECORDS}, line 2 is no" in caplog.text


def test_a_trace_that_does_not_apply_leaves_the_kernel_to_the_rules(tmp_path, caplog):
    record(tmp_path)
    index, (trace, *rest) = json.loads((tmp_path / RECORDS).read_text())
    instructions, decisions = trace
    trace = [[["GetSBlock", [], ["no such block", "main"], ["b9"]], *instructions], decisions]
    (tmp_path / RECORDS).write_text(json.dumps([index, [trace, *rest]]) + "\n")
    assert marked(tmp_path) is None
    assert "does not apply" in caplog.text and "no such block" in caplog.text


def test_missing_table_is_named(tmp_path):
    record(tmp_path)
    (tmp_path / RECORDS).unlink()
    with pytest.raises(TvmqError, match=RECORDS):
        pipeline.build(model(), TARGET, ROW, tmp_path)
