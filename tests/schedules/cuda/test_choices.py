"""Choices of kernels for GPUs: each gives the same integers; records give them again, or are left aside."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tvm
from tvm import relax, tirx

from tvmq.schedules.code import compile_kernel
from tvmq.schedules.cuda.choices import CHOICES, noted, noting, write_noted
from tvmq.schedules.cuda.kernels import cuda_kernel
from tvmq.schedules.cuda.tiles import Tile, Unit
from tvmq.schedules.pipeline import to_kernels
from tvmq.schedules.records import Record, Records, apply_records
from tvmq.schedules.schedule import Schedule
from tvmq.schedules.space import analytic
from tvmq.schedules.workload import hash_of, workload_of
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

TARGET = parse_target("cuda -arch=sm_80")
ROW = row_of(TARGET)


def kernel_of(build, shape: tuple[int, ...], dtype: str) -> tirx.PrimFunc:
    """Return the one kernel, not yet written, of what ``build`` makes of an input."""
    x = relax.Var("x", relax.TensorType(shape, dtype))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(builder.normalize(build(x)))
        builder.emit_func_output(result)
    mod, ((name, _),) = to_kernels(builder.get(), TARGET, ROW)
    return mod[name]


def candidates(func: tirx.PrimFunc) -> dict[str, list]:
    found: dict[str, list] = {}
    cuda_kernel(func, ROW, lambda name, possible: found.setdefault(name, list(possible))[0])
    return found


def computed(func: tirx.PrimFunc, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    gpu = tvm.cuda(0)
    result = tvm.runtime.empty(shape, str(x.dtype), gpu)
    compile_kernel(func, TARGET)["main"](tvm.runtime.tensor(x, gpu), result)
    return result.numpy()


@pytest.mark.parametrize("length", [300, 1030])
def test_rows_by_any_number_of_warps(gpu_compiler, length):
    """Three rows, whose last block of rows is not full; 300 and 1030 numbers leave threads without one."""
    func = kernel_of(lambda x: relax.op.sum(x, axis=[1]), (3, length), "int32")
    x = np.random.default_rng(0).integers(-1000, 1000, (3, length), dtype=np.int32)
    ((name, possible),) = candidates(func).items()
    assert name == "0.warps" and possible[0] == (4, 4 if length > 1024 else 1)
    assert {(1, 1), (2, 2), (8, 1), (8, 8)} <= set(possible) and ((16, 16) in possible) == (length > 512)
    for choice in possible:
        kernel = write_noted(noted(func, {name: choice}).mod["main"], ROW)
        np.testing.assert_array_equal(computed(kernel, x, (3,)), x.sum(1, dtype=np.int32))


def test_elements_by_any_number_of_threads_and_lanes(gpu_compiler):
    """Eight numbers in a row of 9: 4 bytes are 4 lanes at most; 216 of them are more than some blocks have threads."""
    func = kernel_of(relax.op.abs, (3, 9, 8), "int32")
    x = np.random.default_rng(0).integers(-1000, 1000, (3, 9, 8), dtype=np.int32)
    assert candidates(func)["0.lanes"] == [1, 4, 2]
    for lanes, threads in [(1, 128), (1, 64), (1, 256), (2, 64), (4, 128)]:
        chosen = noted(func, {"0.lanes": lanes, "0.threads": threads})
        np.testing.assert_array_equal(computed(write_noted(chosen.mod["main"], ROW), x, x.shape), np.abs(x))


def test_launches_have_numbers():
    """A sum that several elements read is a kernel of its own; each launch has its choices."""
    func = kernel_of(lambda x: relax.op.nn.softmax(x, axis=0), (40, 640), "float32")
    assert {"0.lanes", "0.threads", "1.lanes", "1.threads"} <= set(candidates(func))


def test_the_annotation_says_what_was_chosen():
    """Without what is the default of a tile."""
    chosen: dict[str, object] = {}
    func = kernel_of(lambda x: relax.op.sum(x, axis=[1]), (3, 300), "int32")
    cuda_kernel(func, ROW, noting(analytic, chosen))
    assert chosen == {"0.warps": (4, 1)}
    tile = Tile(Unit.MATRIX, 64, 32, 128, 4, 1, 3)
    func = noted(func, {**chosen, "0.tile": tile, "1.tile": replace(tile, splits=2)}).mod["main"]
    text = json.loads(func.body.block.annotations[CHOICES])
    plain = {"unit": "MATRIX", "rows": 64, "columns": 32, "depth": 128, "down": 4, "across": 1, "stages": 3}
    assert text == {"0.warps": [4, 1], "0.tile": plain, "1.tile": {**plain, "splits": 2}}


def records_of(func: tirx.PrimFunc, choices: dict, tmp_path) -> Records:
    trace = json.loads(json.dumps(noted(func, choices).trace.as_json(), default=plain))
    records = Records(tmp_path, ROW)
    records.by_workload[hash_of(workload_of(func))] = [Record(trace, 1e-6, TARGET.export())]
    return records


def plain(value):
    return value.value if hasattr(value, "value") else list(value)


def test_a_record_is_used(tmp_path, caplog):
    func = kernel_of(lambda x: relax.op.sum(x, axis=[1]), (3, 300), "int32")
    applied = apply_records(tvm.IRModule({"k": func}), records_of(func, {"0.warps": (8, 1)}, tmp_path))["k"]
    assert 'T.launch_thread("threadIdx.x", 256)' in applied.script() and applied.attrs["tirx.is_scheduled"]
    other = apply_records(tvm.IRModule({"k": func}), records_of(func, {"9.new": 3}, tmp_path))["k"]
    assert 'T.launch_thread("threadIdx.x", 128)' in other.script()  # as nobody says anything of it
    assert not caplog.text


def test_a_record_that_no_longer_fits_is_left_aside(tmp_path, caplog):
    func = kernel_of(lambda x: relax.op.sum(x, axis=[1]), (3, 300), "int32")
    records = records_of(func, {"0.warps": (64, 64)}, tmp_path)
    applied = apply_records(tvm.IRModule({"k": func}), records)["k"]
    assert "tirx.is_scheduled" not in applied.attrs
    assert "the best record of" in caplog.text
    assert "for k does not apply: 0.warps cannot be [64, 64]" in caplog.text


def test_a_trace_without_choices_is_left_aside(tmp_path, caplog):
    func = kernel_of(lambda x: relax.op.sum(x, axis=[1]), (3, 300), "int32")
    records = Records(tmp_path, ROW)
    trace = json.loads(json.dumps(Schedule(func).trace.as_json(), default=plain))
    records.by_workload[hash_of(workload_of(func))] = [Record(trace, 1e-6, TARGET.export())]
    apply_records(tvm.IRModule({"k": func}), records)
    assert f"does not apply: it has no {CHOICES}" in caplog.text
