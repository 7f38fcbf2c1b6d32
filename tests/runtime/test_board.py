"""The C++ runner: natively, and as an ARM board's program under emulation."""

from __future__ import annotations

import subprocess

import numpy as np
import onnx
import pytest

import tvmq
from tests.frontends.graphs import model, node, value
from tvmq.errors import TvmqError
from tvmq.runtime import archive, libraries
from tvmq.runtime.board import board_of, make_bundle, run_bundle

from .models import CORTEX_A72, DEPTH, ROWS, expected, inputs, package


@pytest.fixture(scope="module")
def bundle(built, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    built.export(folder / "model.tar")
    return make_bundle(folder / "model.tar", folder / "board")


def runner(folder, *arguments):
    return subprocess.run(
        [folder / "tvmq-run", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def assert_exact(outputs):
    assert list(outputs) == ["sums", "scaled"]
    for name, array in expected().items():
        assert outputs[name].dtype == array.dtype
        np.testing.assert_array_equal(outputs[name], array)


def saved_inputs(folder):
    """Save the model's inputs and return the arguments that name them."""
    arguments = []
    for name, array in inputs().items():
        np.save(folder / f"{name[0]}.npy", array)
        arguments += ["--input", f"{name}={folder / name[0]}.npy"]
    return arguments


def test_a_bundle_is_complete(bundle):
    names = {path.name for path in bundle.iterdir()}
    libraries = {"libtvm_runtime.so", "libtvm_runtime_extra.so", "libtvm_ffi.so"}
    assert (
        names
        == {"mod.so", "mod.json", "tvmq-run", "tvmq-rpc", "libtvmq.so", "tvmq.h", "README.txt"} | libraries
    )


def test_native_bundle_gives_the_same_integers(bundle):
    assert_exact(run_bundle(bundle, inputs()))


def test_arm_bundle_gives_the_same_integers(run_on_arm, tmp_path):
    package(CORTEX_A72).export(tmp_path / "arm.tar")
    assert_exact(run_on_arm(tmp_path / "arm.tar", inputs()))


def test_repeat_prints_the_median(bundle, tmp_path):
    arguments = saved_inputs(tmp_path)
    done = runner(bundle, bundle, *arguments, "--output-dir", tmp_path, "--repeat", 3)
    assert done.returncode == 0
    assert done.stdout.startswith("median of 3 runs: ")
    np.testing.assert_array_equal(np.load(tmp_path / "0.npy"), expected()["sums"])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((ROWS, 1), "int8"), f"input 'x:0' has shape [{ROWS}, 1]; expected [{ROWS}, {DEPTH}]"),
        (np.zeros((ROWS, DEPTH), "uint8"), "input 'x:0' has dtype uint8; expected int8"),
        (np.asfortranarray(np.zeros((ROWS, DEPTH), "int8")), "is in Fortran order"),
        (np.zeros((ROWS, DEPTH), "complex64"), "has the dtype '<c8', which no model takes"),
        (np.zeros((ROWS, DEPTH), ">i4"), "has the dtype '>i4', which no model takes"),
    ],
)
def test_runner_refuses_other_inputs(bundle, tmp_path, array, message):
    arguments = saved_inputs(tmp_path)
    np.save(tmp_path / "x.npy", array)
    done = runner(bundle, bundle, *arguments, "--output-dir", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("tvmq-run: error: ")
    assert message in done.stderr


def test_runner_refuses_indices_beyond_their_table(tmp_path):
    nodes, ids = [node("Gather", ["table", "ids"], ["y"])], [value("ids", (2,), onnx.TensorProto.INT64)]
    graph = model(nodes, ids, ["y"], {"table": np.arange(12.0, dtype=np.float32).reshape(4, 3)})
    tvmq.compile(graph).export(tmp_path / "model.tar")
    folder = make_bundle(tmp_path / "model.tar", tmp_path / "board")
    (rows,) = run_bundle(folder, {"ids": np.array([3, -4])}).values()
    np.testing.assert_array_equal(rows, [[9, 10, 11], [0, 1, 2]])
    with pytest.raises(TvmqError, match="input 'ids' has the value 4; expected indices from -4 to 3"):
        run_bundle(folder, {"ids": np.array([0, 4])})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: tvmq-run FOLDER"),
        (["{bundle}", "--output-dir"], "--output-dir lacks its value"),
        (["{bundle}", "--speed", "9", "--output-dir", "x"], "unknown option --speed"),
        (["{bundle}", "--output-dir", "x"], "no --input for 'x:0'"),
        (["{bundle}", "--repeat", "0"], "--repeat 0: expected a number from 1 on"),
        (["{bundle}", "--input", "x"], "--input x: expected NAME=FILE.npy"),
        (["/nowhere", "--output-dir", "x"], "cannot read /nowhere/mod.json"),
        (["{bundle}", "--input", "x:0=/dev/null", "--output-dir", "x"], "/dev/null is not a .npy file"),
    ],
)
def test_runner_refuses_bad_arguments(bundle, arguments, message):
    done = runner(bundle, *(argument.format(bundle=bundle) for argument in arguments))
    assert done.returncode == 1
    assert message in done.stderr


def test_a_truncated_array(bundle, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((ROWS, DEPTH), "int8"))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    done = runner(bundle, bundle, "--input", f"x:0={tmp_path}/x.npy", "--output-dir", tmp_path)
    assert done.returncode == 1
    assert f"x.npy is cut short: its shape needs {ROWS * DEPTH} bytes" in done.stderr


def test_a_failing_runner_is_reported(bundle, tmp_path):
    with pytest.raises(TvmqError, match="tvmq-run failed: .*Invalid ELF|tvmq-run failed"):
        run_bundle(bundle, inputs(), launcher=("false",))


def test_an_architecture_without_a_board(built, tmp_path):
    archive.write(tmp_path / "m.tar", {**built.metadata, "arch": "riscv64", "target": {"kind": "llvm"}}, b"")
    with pytest.raises(TvmqError, match="on x86_64 and aarch64, and the target is riscv64; a C library"):
        make_bundle(tmp_path / "m.tar", tmp_path)


def test_systems_without_a_board():
    assert board_of("arm64-unknown-linux-gnu").arch == "aarch64"
    for triple in ("aarch64-linux-musl", "aarch64-linux-android", "arm64-apple-macos", "arm-linux-gnueabihf"):
        with pytest.raises(TvmqError, match=f"comes for Linux with glibc .*the target is {triple};"):
            board_of(triple)


def test_the_programs_are_built_by_the_compiler_that_is_named(built, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mine").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexec gcc "$@"\n')
    (tmp_path / "mine").chmod(0o755)
    folder = make_bundle(built, tmp_path / "board", str(tmp_path / "mine"), ["-g0"])
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len([call for call in calls if call.startswith("-g0 -std=c++17")]) == 3
    assert_exact(run_bundle(folder, inputs()))


def test_the_folder_for_outputs_is_made(bundle, tmp_path):
    arguments = saved_inputs(tmp_path)
    assert runner(bundle, bundle, *arguments, "--output-dir", tmp_path / "new" / "results").returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "new" / "results" / "0.npy"), expected()["sums"])
    done = runner(bundle, bundle, *arguments, "--output-dir", tmp_path / "x.npy")
    assert done.stderr == f"tvmq-run: error: cannot make the folder {tmp_path}/x.npy: Not a directory\n"
    (tmp_path / "taken" / "0.npy").mkdir(parents=True)
    done = runner(bundle, bundle, *arguments, "--output-dir", tmp_path / "taken")
    assert done.stderr == f"tvmq-run: error: cannot write {tmp_path}/taken/0.npy: Is a directory\n"


def test_a_failed_download_leaves_no_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(TvmqError, match="cannot download TVM's runtime for aarch64: "):
        libraries.runtime_libraries("aarch64", "manylinux_2_28_aarch64")
    assert list((tmp_path / "tvmq").iterdir()) == []
