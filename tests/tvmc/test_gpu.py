"""The command line with a GPU: targets, architectures, ``--device``, and what there is none of for GPUs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.tuning import gpu_kernels
from tvmq.schedules.cuda import nvcc
from tvmq.schedules.records import RECORDS
from tvmq.targets.cuda import driver

TARGET = "cuda -arch=sm_80"


@pytest.fixture
def model(tmp_path):
    """``y = relu(x @ w)`` of shape [4, 8]."""
    weight = numpy_helper.from_array(np.eye(8, dtype=np.float32) * 2, "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["v"], "product"),
        helper.make_node("Relu", ["v"], ["y"], "relu"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 8]) for name in "xy")
    graph = helper.make_graph(nodes, "m", [x], [y], [weight])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_compile_inspect_run(tvmc, gpu_compiler, model, tmp_path):
    package, x = tmp_path / "m.tar", np.arange(-16, 16, dtype=np.float32).reshape(4, 8)
    flags = ["--target", "cuda", "-arch", "sm_80", "--cuda-archs", "sm_80,sm_90", "--dump-code", "cuda"]
    result = tvmc("compile", model, *flags, "-o", package)
    assert result.code == 0, result.err
    assert "for cuda -host='llvm -mcpu=" in result.out and " -arch=sm_80" in result.out
    assert "__global__" in (tmp_path / "m.tar.cuda").read_text()
    metadata = json.loads(tvmc("inspect", package, "--json").out)
    assert metadata["gpu"]["archs"] == ["sm_80", "sm_90"]
    shown = tvmc("inspect", package).out
    assert "sm_80, sm_90, PTX for later than sm_90" in " ".join(shown.split())
    np.savez(tmp_path / "in.npz", x=x)
    run = ["run", package, "--inputs", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz"]
    for device in ([], ["--device", "cuda"]):
        result = tvmc(*run, *device, "--print-time", "--profile")
        assert result.code == 0, result.err
        np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["y"], np.maximum(2 * x, 0))
    result = tvmc(*run, "--device", "cpu")
    assert result.code == 1
    assert "the package is for a GPU: compile it with --target llvm to run it on the CPU" in result.err
    result = tvmc(*run, "--rpc-tracker", "127.0.0.1:9")
    assert result.code == 1 and "it cannot go with --rpc-tracker" in result.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["compile", "--cuda-archs", "sm_80"], "(cuda_archs) have no effect on the target 'llvm'"),
        (["compile", "--target", TARGET, "--cuda-archs", "sm_75"], "kernels for sm_80 use what sm_75 lacks"),
        (
            ["compile", "--target", TARGET, "--cuda-archs", "80"],
            "GPU architecture '80' must have the form sm_XX",
        ),
        (
            ["compile", "--target", TARGET, "-f", "c-static"],
            "there is no C library for GPUs: name a CPU, such as 'llvm",
        ),
        (["compile", "--dump-code", "cuda"], "(dump_code) is of a GPU's kernels, and the target is a CPU"),
        (["compile", "--target", "cuda -arch=sm_53"], "GPUs of sm_53 have no dot product of 8-bit integers"),
        (
            ["tune", "--target", TARGET],
            "tuning measures on the GPU, and there is no NVIDIA GPU here, or no driver",
        ),
    ],
)
def test_refusals(tvmc, monkeypatch, model, tmp_path, flags, message):
    monkeypatch.setattr(nvcc, "known_archs", lambda command: (75, 80, 90))
    monkeypatch.setattr(nvcc, "find_nvcc", lambda: "nvcc")
    monkeypatch.setattr(driver, "capabilities_by_program", lambda: [])
    command, *rest = flags
    result = tvmc(command, model, *rest, "--output", tmp_path / "out")
    assert result.code == 1, result
    assert message in result.err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def fresh_processes_find_the_tests(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])


def test_tune_then_compile(tvmc, gpu_compiler, fresh_processes_find_the_tests, monkeypatch, model, tmp_path):
    pytest.importorskip("xgboost", reason="tuning needs the extra tune")
    records, package = tmp_path / "records", tmp_path / "m.tar"
    monkeypatch.setattr(driver, "capabilities_by_program", lambda: [])
    listed = tvmc("tune", model, "--target", TARGET, "--tasks", "list", "-o", records)
    assert listed.code == 0 and "product" in listed.out
    monkeypatch.setattr(driver, "capabilities_by_program", lambda: [80])
    monkeypatch.setattr("tvmq.tuning.on_gpu.prepare_on_gpu", gpu_kernels.instant)
    result = tvmc("tune", model, "--target", TARGET, "--trials", "4", "--number", "1", "-o", records)
    assert result.code == 0, result.err
    assert "4 trials, best" in result.err and "default (ms)" in result.out
    assert len((records / RECORDS).read_text().splitlines()) == 4
    result = tvmc("compile", model, "--target", TARGET, "--tuning-records", records, "-o", package)
    assert (result.code, result.err) == (0, "")
    np.savez(tmp_path / "in.npz", x=np.arange(-16, 16, dtype=np.float32).reshape(4, 8))
    assert tvmc("run", package, "--inputs", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz").code == 0
    expected = np.maximum(np.arange(-32, 32, 2), 0).reshape(4, 8)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["y"], expected)


def test_tuning_on_another_gpu(tvmc, monkeypatch, model, tmp_path):
    monkeypatch.setattr(driver, "capabilities_by_program", lambda: [90])
    result = tvmc("tune", model, "--target", TARGET, "--output", tmp_path / "out")
    assert result.code == 1
    assert "the GPU of this machine is of sm_90, which other records are for: tune for" in result.err


def test_without_a_compiler(tvmc, monkeypatch, model, tmp_path):
    monkeypatch.setenv("CUDACXX", "no-such-nvcc")
    result = tvmc("compile", model, "--target", TARGET, "-o", tmp_path / "m.tar")
    assert result.code == 1
    assert "CUDACXX names 'no-such-nvcc', which is no program" in result.err
