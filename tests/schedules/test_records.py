"""Tuned records: used where a function has one, refused by name where they cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.s_tir import Schedule
from tvm.s_tir.meta_schedule.database import JSONDatabase, TuningRecord

from tvmq.errors import TvmqError
from tvmq.schedules import pipeline
from tvmq.schedules.records import RECORDS, WORKLOADS
from tvmq.targets.rows import ROWS

TARGET = tvm.target.Target({"kind": "llvm"})
ROW = next(row for row in ROWS if row.name == "aarch64-neon")


def model() -> tvm.IRModule:
    """Return ``relu(x) + 1`` over 64 numbers, which becomes one function."""
    x = relax.Var("x", relax.TensorType((64,), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.emit(relax.op.add(relax.op.nn.relu(x), relax.const(np.float32(1))))
            out = builder.emit_output(y)
        builder.emit_func_output(out)
    return builder.get()


def record(folder, seconds=1e-6):
    """Write a record that marks the loop of the model's one function."""
    with TARGET:
        mod = pipeline.fuse()(pipeline.legalize(ROW)(model()))
    (func,) = [func for func in mod.functions.values() if isinstance(func, tvm.tirx.PrimFunc)]
    workload = tvm.IRModule({"main": func.without_attr("global_symbol").with_attr("global_symbol", "main")})
    database = JSONDatabase(str(folder / WORKLOADS), str(folder / RECORDS))
    sch = Schedule(workload)
    block = sch.get_child_blocks(sch.get_sblock("root"))[-1]
    sch.annotate(sch.get_loops(block)[0], "tuned", 1)
    database.commit_tuning_record(
        TuningRecord(sch.trace, database.commit_workload(workload), [seconds], TARGET)
    )


def test_a_recorded_schedule_is_used(tmp_path):
    record(tmp_path)
    built = pipeline.build(model(), TARGET, ROW, tmp_path)
    functions = [func for func in built.mod.functions.values() if isinstance(func, tvm.tirx.PrimFunc)]
    assert any('"tuned": 1' in func.script() for func in functions)
    x = np.linspace(-1, 1, 64, dtype=np.float32)
    result = relax.VirtualMachine(built.executable, tvm.cpu())["main"](tvm.runtime.tensor(x))
    np.testing.assert_array_equal(result.numpy(), np.maximum(x, 0) + 1)


def test_without_records_the_rules_schedule():
    built = pipeline.build(model(), TARGET, ROW)
    assert '"tuned"' not in built.mod.script()


def test_missing_table_is_named(tmp_path):
    record(tmp_path)
    (tmp_path / RECORDS).unlink()
    with pytest.raises(TvmqError, match=RECORDS):
        pipeline.build(model(), TARGET, ROW, tmp_path)


def test_broken_table_is_refused(tmp_path):
    record(tmp_path)
    (tmp_path / RECORDS).write_text("[0, [[")
    with pytest.raises(TvmqError, match="cannot be read"):
        pipeline.build(model(), TARGET, ROW, tmp_path)
