"""Tuning for GPUs, on the emulated one: what is searched, how it is measured, and that compilation uses it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tvm
import tvm_ffi

import tvmq
from tests.tuning import gpu_kernels
from tvmq import api
from tvmq.errors import TvmqError
from tvmq.schedules.cuda.choices import write_noted
from tvmq.schedules.records import RECORDS, read_records
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target
from tvmq.tuning import on_gpu
from tvmq.tuning.evaluate import Configured
from tvmq.tuning.gpu_features import features
from tvmq.tuning.measure import MeasureOptions, measure
from tvmq.tuning.spaces import candidates_of
from tvmq.tuning.tune import TuneOptions, tune

pytest.importorskip("xgboost", reason="tuning needs the extra tune")

MEASURING = MeasureOptions(number=1, repeat=1, timeout=100.0, parallel=2)


@pytest.fixture(autouse=True)
def fresh_processes_find_the_tests(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])


class Watcher:
    def __init__(self):
        self.errors = []

    def trial(self, search, measured):
        self.errors.append(measured.error)

    def round(self, searches, current, left):
        pass


@pytest.fixture(scope="session")
def gpu_target():
    return parse_target("cuda -arch=sm_80")


@pytest.fixture(scope="session")
def gpu_tasks(quantized, gpu_target):
    """Those of the example network by name."""
    return {task.name: task for task in api.tuning_tasks(quantized, gpu_target)}


@pytest.fixture
def pool(gpu_tasks):
    return gpu_tasks["qaverage_pool2d"]


def drawn(task, target):
    candidates = candidates_of(task.func, row_of(target), 1, np.random.default_rng(0))
    while (candidate := candidates.draw()) is not None:
        yield candidate


def test_tasks_are_all_kernels_with_choices(gpu_tasks):
    assert {"qmatmul_1x48_10ch", "qaverage_pool2d", "qdepthwise_conv2d_3x3_1x8x8x64_64ch"} <= set(gpu_tasks)
    assert gpu_tasks["qmatmul_1x48_10ch"].macs == 480


def test_candidates_are_kernels_that_their_records_give_again(gpu_tasks, gpu_target):
    """Each comes once, and the cost model sees in what most of them differ."""
    row = row_of(gpu_target)
    found = list(drawn(gpu_tasks["qmatmul_1x48_10ch"], gpu_target))
    assert len({candidate.trace for candidate in found}) == len(found) > 30
    assert [candidate.is_default for candidate in found] == [True] + [False] * (len(found) - 1)
    for candidate in found[:5]:
        assert tvm_ffi.structural_equal(
            candidate.function, write_noted(candidate.schedule.mod["main"], row), map_free_vars=True
        )
    rows = [features(candidate.function, row.gpu) for candidate in found]
    assert {each.shape for each in rows} == {(1, rows[0].shape[1])}
    assert len({each.tobytes() for each in rows}) > 0.7 * len(found)


def test_tuning_finds_the_fastest_and_compilation_uses_it(
    quantized, pool, gpu_target, gpu_compiler, tmp_path
):
    (search,) = tune(
        [pool],
        gpu_target,
        tmp_path,
        Watcher(),
        options=TuneOptions(trials=20),
        measuring=MEASURING,
        prepare=Configured(gpu_kernels.counted, (("tirx.disable_vectorize", False),)),
    )
    assert search.is_exhausted and search.best < search.default
    records = read_records(tmp_path, row_of(gpu_target), 7)  # threads are a CPU's
    assert records.best(pool.hash).seconds == search.best
    choices = json.loads(str(records.best(pool.hash).trace[0][-1][1][1])[1:-1])
    assert choices["0.lanes"] < 4
    sample = {"image": np.random.default_rng(0).random((1, 1, 8, 8), dtype=np.float32)}
    options = tvmq.CompileOptions(tuning_records=tmp_path)
    package = tvmq.compile(quantized, gpu_target, options=options)
    for name, expected in tvmq.compile(quantized, gpu_target).run(sample).items():
        np.testing.assert_array_equal(package.run(sample)[name], expected)


def test_the_cost_model_learns(gpu_tasks, gpu_target, tmp_path):
    """More rounds than one of a space that is larger: what comes later is chosen by the model."""
    task = gpu_tasks["qmatmul_1x48_10ch"]
    options = TuneOptions(trials=20)
    watcher = Watcher()
    (search,) = tune(
        *([task], gpu_target, tmp_path, watcher),
        options=options,
        measuring=MEASURING,
        prepare=gpu_kernels.instant,
    )
    assert watcher.errors == [""] * 20 and search.trials == 20 and not search.is_exhausted
    assert len((tmp_path / RECORDS).read_text().splitlines()) == 20


def test_a_kernel_that_faults_ends_its_process_alone(pool, gpu_target):
    prepared = {0: gpu_kernels.dies, 1: gpu_kernels.faults, 2: gpu_kernels.timed}
    kernel = next(drawn(pool, gpu_target)).function
    found = {
        number: dict(measure([kernel], gpu_target, MEASURING, prepare))[0]
        for number, prepare in prepared.items()
    }
    assert found[0].error == "died running (exit code 3)"
    assert not found[1].seconds and found[1].error
    assert not found[2].error and len(found[2].seconds) == 1 and found[2].seconds[0] > 0


def test_arguments_go_round(pool, gpu_tasks, gpu_target, monkeypatch):
    """As many sets as twice the cache holds, and at most one a launch."""
    assert on_gpu.sets_of(pool.func, gpu_target) == on_gpu.LAUNCHES
    held = sum(tvm.runtime.tensor(array).numpy().nbytes for array in on_gpu.random_arguments(pool.func))
    row = row_of(gpu_target)
    monkeypatch.setattr(on_gpu, "row_of", lambda target: row.__class__(**{**vars(row), "l2_bytes": held}))
    assert on_gpu.sets_of(pool.func, gpu_target) == 3


def test_a_gpu_of_another_row_is_refused(gpu_target):
    on_gpu.refuse_other_gpu(80, gpu_target, "this machine")
    on_gpu.refuse_other_gpu(87, parse_target("cuda -arch=sm_86"), "this machine")
    with pytest.raises(
        TvmqError, match=r"the GPU of this machine is of sm_90, .* tune for 'cuda -arch=sm_90'.* of sm_80"
    ):
        on_gpu.refuse_other_gpu(90, gpu_target, "this machine")
