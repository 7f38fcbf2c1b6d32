"""A C library of a small model: what it computes, what it refuses, and that nothing of TVM is in it."""

from __future__ import annotations

import ctypes
import json
import subprocess
import tarfile

import numpy as np
import pytest
from tvm import relax, topi

import tvmq
from tvmq.passes.hub.graph import OUTPUTS, with_layer_name
from tvmq.runtime.c_library.tools import tools_for

WEIGHT = np.random.default_rng(0).normal(size=(40, 24)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(3, 40)).astype(np.float32)
FLAG = np.array([[True], [False], [True]])
NAMES = ["sum/of:0", "*/", "x", "fixed", "again"]


def module(params, define, names):
    """Return a Relax module whose ``main`` returns what ``define(builder, *params)`` gives, a tuple."""
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            output = builder.emit_output(relax.Tuple(define(builder, *params)))
        builder.emit_func_output(output)
    mod = builder.get()
    mod.update_func(mod.get_global_var("main"), mod["main"].with_attr(OUTPUTS, json.dumps(names)))
    return mod


def define(builder, x, flag):
    """A product, what is above zero in chosen rows, an input as it is, a constant, and the product once more."""
    product = builder.emit(relax.op.matmul(x, relax.const(WEIGHT)))
    positive = builder.emit(relax.op.logical_and(relax.op.greater(product, relax.const(0.0)), flag))
    return [product, positive, x, relax.const(WEIGHT[0]), product]


@pytest.fixture(scope="module")
def library():
    x = relax.Var("x", relax.TensorType((3, 40), "float32"))
    flag = relax.Var("flag:0", relax.TensorType((3, 1), "bool"))
    return tvmq.compile_c_library(module([x, flag], define, NAMES), name="small")


@pytest.fixture(scope="module")
def loaded(library, tmp_path_factory):
    """The library as a shared one in this process."""
    folder = tmp_path_factory.mktemp("shared")
    library.export(folder)
    link = "gcc -shared -o small.so -Wl,--whole-archive libsmall.a -Wl,--no-whole-archive -lm".split()
    subprocess.run(link, cwd=folder, check=True)
    return ctypes.CDLL(folder / "small.so")


def aligned(size):
    """Return so many bytes of memory at a multiple of 64."""
    memory = np.zeros(size + 64, np.uint8)
    return memory[-memory.ctypes.data % 64 :][:size]


def test_outputs_of_every_kind(library, run_c_library):
    outputs = run_c_library(library, {"x": X, "flag:0": FLAG})
    product = X @ WEIGHT
    # 40 products summed in any order: each partial sum is rounded once, relative to at most the sum of magnitudes.
    bound = 2 * 41 * 2.0**-24 * (np.abs(X) @ np.abs(WEIGHT))
    assert list(outputs) == NAMES
    assert (np.abs(outputs["sum/of:0"] - product) <= bound).all()
    np.testing.assert_array_equal(outputs["*/"], (outputs["sum/of:0"] > 0) & FLAG)
    np.testing.assert_array_equal(outputs["x"], X)
    np.testing.assert_array_equal(outputs["fixed"], WEIGHT[0])
    np.testing.assert_array_equal(outputs["again"], outputs["sum/of:0"])


def test_bad_pointers_are_answered(library, loaded):
    sizes = [X.nbytes, FLAG.nbytes, 3 * 24 * 4, 3 * 24, X.nbytes, 24 * 4, 3 * 24 * 4]
    buffers = [aligned(size + 8) for size in (*sizes, library.metadata["bytes"]["workspace"])]
    pointers = [ctypes.c_void_p(buffer.ctypes.data) for buffer in buffers]
    assert loaded.small_run(*pointers) == 0
    for place in range(len(pointers)):
        assert loaded.small_run(*pointers[:place], None, *pointers[place + 1 :]) == 1
        shifted = ctypes.c_void_p(buffers[place].ctypes.data + 8)
        assert loaded.small_run(*pointers[:place], shifted, *pointers[place + 1 :]) == 2


def test_it_needs_nothing_but_libc(loaded):
    undefined = subprocess.run(["nm", "-D", "-u", loaded._name], capture_output=True, text=True, check=True)
    names = {line.split()[-1].split("@")[0] for line in undefined.stdout.splitlines()}
    assert names <= {"memcpy", "memset", "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable"} | {
        "__cxa_finalize",
        "__gmon_start__",
    }


def test_sizes(library):
    sizes = library.metadata["bytes"]
    assert WEIGHT.nbytes < sizes["weights"] < 2 * WEIGHT.nbytes  # the kernel's layout pads it
    assert 0 < sizes["code"] < 20_000
    header = library.files["small.h"].decode()
    assert f"#define SMALL_WORKSPACE_BYTES {sizes['workspace']}\n" in header
    assert '#define SMALL_OUT____SIZE 72 /* bool[3, 24], "* /" */\n' in header


def test_export(library, tmp_path):
    library.export(tmp_path / "small.tar")
    library.export(tmp_path / "small")
    names = ["libsmall.a", "small.h", "main.c"]
    with tarfile.open(tmp_path / "small.tar") as archive:
        assert archive.getnames() == names
    for name in names:
        assert (tmp_path / "small" / name).read_bytes() == library.files[name]


def test_export_to_where_nothing_can_be_written(library, tmp_path):
    (tmp_path / "taken").write_text("")
    for path in ("/proc/small", "/proc/small.tar", tmp_path / "taken" / "small"):
        with pytest.raises(tvmq.TvmqError, match=f"cannot write '?{path}'?: "):
            library.export(path)


def test_folders_above_are_made(library, tmp_path):
    library.export(tmp_path / "new" / "small")
    assert len(list((tmp_path / "new" / "small").iterdir())) == 3


def test_the_same_model_gives_the_same_bytes(library):
    x = relax.Var("x", relax.TensorType((3, 40), "float32"))
    flag = relax.Var("flag:0", relax.TensorType((3, 1), "bool"))
    assert tvmq.compile_c_library(module([x, flag], define, NAMES), name="small").files == library.files


def sorted_in_a_kernel(builder, x):
    return [builder.emit(with_layer_name(builder.call_te(topi.sort, x), "the sort"))]


def sorted_between_kernels(builder, x):
    return [builder.emit(with_layer_name(relax.op.sort(x), "the sort"))]


@pytest.mark.parametrize(
    ("sort", "call"), [(sorted_in_a_kernel, "tvm.contrib.sort.sort"), (sorted_between_kernels, "relax.sort")]
)
def test_what_takes_tvms_runtime_is_refused(sort, call):
    x = relax.Var("x", relax.TensorType((8,), "float32"))
    with pytest.raises(
        tvmq.TvmqError, match=f"a C library cannot hold .{call}. of layer 'the sort': it takes"
    ):
        tvmq.compile_c_library(module([x], sort, ["y"]))


@pytest.mark.parametrize("name", ["", "two words", "2d", "ä", "a-b"])
def test_names_that_c_does_not_take(name):
    with pytest.raises(
        tvmq.TvmqError, match="a C library's name must be letters, digits and underscores, got"
    ):
        tvmq.compile_c_library("no.onnx", name=name)


def test_a_missing_compiler_is_named_with_its_package(monkeypatch):
    monkeypatch.setenv("PATH", "")
    for triple, message in (
        (
            "arm-linux-gnueabihf",
            "C compiler 'arm-linux-gnueabihf-gcc' is not on the PATH: install it "
            r"\(Debian's package gcc-arm-linux-gnueabihf\), or name another with --cross-compiler",
        ),
        ("armv7l-linux-gnueabi", r"C compiler 'arm-linux-gnueabi-gcc' .*package gcc-arm-linux-gnueabi\)"),
        (
            "arm-linux-musleabihf",
            "'arm-linux-musleabihf-gcc' is not on the PATH: install it, or name another",
        ),
        ("arm-none-eabihf", "there is no usual compiler for arm-none-eabihf: name yours"),
    ):
        with pytest.raises(tvmq.TvmqError, match=message):
            tvmq.compile_c_library("no.onnx", f"llvm -mtriple={triple} -mcpu=cortex-a7")


def test_a_compiler_without_an_archiver(tmp_path):
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\n")
    silent.chmod(0o755)
    with pytest.raises(tvmq.TvmqError, match=f"{silent} does not name its ar"):
        tools_for("x86_64", str(silent)).archive([], tmp_path / "lib.a")
