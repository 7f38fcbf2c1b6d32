"""Packages for a GPU, on the emulated one: what goes in, what comes out, and what cannot run."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest
import tvm_ffi
from tvm import relax

import tvmq
from tests.gpu import gpu as there_is_a_gpu
from tests.gpu import is_real
from tvmq.errors import TvmqError
from tvmq.runtime import gpu
from tvmq.runtime.board import make_bundle, run_bundle
from tvmq.runtime.metadata import decode, encode, refuse_other_machines
from tvmq.runtime.package import Package
from tvmq.schedules.cuda import nvcc
from tvmq.schedules.cuda.nvcc import find_nvcc
from tvmq.targets import host

TARGET = "cuda -arch=sm_80"
X = np.arange(-16, 16, dtype=np.float32).reshape(4, 8)


def module():
    """``y = relu(x * 2 + [0, 1, ...]), x, [0, 1, ...]``: a result, an input and a constant."""
    x = relax.Var("x", relax.TensorType((4, 8), "float32"))
    offset = relax.const(np.arange(8, dtype=np.float32))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            doubled = builder.emit(relax.op.multiply(x, relax.const(np.float32(2))))
            y = builder.emit(relax.op.nn.relu(relax.op.add(doubled, offset)))
            result = builder.emit_output(relax.Tuple([y, x, offset]))
        builder.emit_func_output(result)
    return builder.get()


Y = np.maximum(X * 2 + np.arange(8, dtype=np.float32), 0)


@pytest.fixture(scope="module")
def package() -> Package:
    with there_is_a_gpu(), pytest.MonkeyPatch.context() as patch:
        if not is_real():
            patch.setattr(nvcc, "check_archs", lambda archs: None)
        return tvmq.compile(module(), TARGET)


def on_gpu(array: np.ndarray) -> tvm_ffi.Tensor:
    tensor = gpu.empty(array.shape, array.dtype)
    gpu.copy(tvm_ffi.from_dlpack(array), tensor)
    return tensor


def on_host(tensor: tvm_ffi.Tensor) -> np.ndarray:
    array = np.empty(tuple(tensor.shape), str(tensor.dtype))
    gpu.copy(tensor, tvm_ffi.from_dlpack(array))
    gpu.wait()
    return array


def check(outputs) -> None:
    y, x, offset = outputs.values()
    for found, expected in ((y, Y), (x, X), (offset, np.arange(8))):
        np.testing.assert_array_equal(found, expected)


def test_arrays_in_arrays_out(package):
    for _ in range(3):
        check(package.run(X))
    check(package.run(np.asfortranarray(X).astype(np.float64)))  # converted, as on a CPU


def test_outputs_are_the_callers(package):
    first = package.run(X)
    package.run(-X)
    check(first)


def test_tensors_of_the_gpu_stay_there(package):
    x = on_gpu(X)
    runs = [package.run({"x": x}) for _ in range(3)]
    for outputs in runs:
        assert all(gpu.is_on_gpu(output) for output in outputs.values())
        check({name: on_host(output) for name, output in outputs.items()})
    addresses = [output.data_ptr() for outputs in runs for output in outputs.values()]
    assert len({x.data_ptr(), *addresses}) == 10  # nobody else's: neither the input's nor the constant's


def test_where_outputs_are_to_be(package):
    check(package.run(on_gpu(X), device_outputs=False))
    outputs = package.run(X, device_outputs=True)
    check({name: on_host(output) for name, output in outputs.items()})


def test_outputs_into_arrays(package):
    y = np.zeros((8, 4), np.float32).T
    name = next(iter(package.run(X)))
    assert package.run(on_gpu(X), out={name: y})[name] is y
    np.testing.assert_array_equal(y, Y)
    with pytest.raises(TvmqError, match="it has no effect with device_outputs=True"):
        package.run(X, out={name: y}, device_outputs=True)


def test_times(package):
    assert len(package.time(X, number=2, repeat=3)) == 3
    kernels = package.profile(X, runs=2)
    assert kernels and all(kernel.seconds > 0 for kernel in kernels)
    assert [kernel.kernel for kernel in kernels] == [entry["name"] for entry in package.metadata["kernels"]]


def test_a_tensor_that_does_not_start_at_a_multiple_is_copied(package):
    room = on_gpu(np.concatenate([[0], X.ravel()]).astype(np.float32))
    view = tvm_ffi.get_global_func("runtime.TVMTensorCreateView")(room, tvm_ffi.Shape((4, 8)), room.dtype, 4)
    assert view.data_ptr() % 16
    check(package.run(view, device_outputs=False))


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((3, 8), "float32", r"input 'x' has shape \[3, 8\]; expected \[4, 8\]"),
        (
            (4, 8),
            "float64",
            "input 'x' has dtype float64; expected float32: it lies on the GPU, where nothing converts",
        ),
    ],
)
def test_tensors_that_do_not_fit(package, shape, dtype, message):
    with pytest.raises(TvmqError, match=message):
        package.run(gpu.empty(shape, dtype))


def test_a_copy_shares_the_code_and_a_pickle_loads_it_again(package, tmp_path):
    package.export(tmp_path / "model.tar")
    check(tvmq.load(tmp_path / "model.tar").run(X))
    check(pickle.loads(pickle.dumps(package)).run(X))


def test_a_forked_process_cannot_run_it(package):
    package.run(X)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            package.run(X)
        except TvmqError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"cannot run in a forked process" in os.read(reader, 1000)


def test_the_runner_without_python(package, emulated_gpu, tmp_path):
    bundle = make_bundle(package, tmp_path / "bundle")
    assert (bundle / "libtvm_runtime_cuda.so").is_file()
    there = ("env", f"LD_LIBRARY_PATH={emulated_gpu.folder()}")
    check(run_bundle(bundle, {"x": X}, there))
    with pytest.raises(TvmqError, match="has code for GPUs of sm_80; this machine's GPU is sm_75"):
        run_bundle(bundle, {"x": X}, (*there, "TVMQ_EMULATED_GPU_CAPABILITY=7.5"))
    with pytest.raises(
        TvmqError, match="is for a GPU, and its runtime cannot be loaded: lib.*: cannot open shared"
    ):
        run_bundle(bundle, {"x": X}, ("env", "LD_LIBRARY_PATH="))


def test_what_it_says_of_itself(package):
    assert package.metadata["target"]["arch"] == "sm_80"
    assert package.metadata["arch"] == host.architecture()
    found = package.metadata["gpu"]
    assert (found["archs"], found["ptx"]) == (["sm_80"], 80) and found["code_bytes"] > 1000
    assert repr(package).startswith("Package(float, cuda sm_80, x: float32[4, 8] -> ")
    assert decode(encode(package.metadata), "m")["gpu"] == found


@pytest.mark.parametrize(
    "field", [{}, {"archs": "sm_80", "ptx": 80}, {"archs": [80], "ptx": 80}, {"archs": ["sm_80"]}]
)
def test_damaged_metadata(package, field):
    with pytest.raises(
        TvmqError, match="mod.json's field 'gpu' must have archs, a list of names, and ptx, a number"
    ):
        decode(json.dumps({**package.metadata, "gpu": field}).encode(), "m")


@pytest.mark.parametrize(
    ("archs", "ptx", "here", "runs"),
    [
        (["sm_80"], 80, 80, True),
        (["sm_80"], 80, 86, True),
        (["sm_80"], 80, 90, True),  # PTX
        (["sm_80"], 80, 75, False),
        (["sm_75", "sm_90"], 90, 86, False),
        (["sm_86", "sm_90"], 90, 80, False),
        (["sm_90a"], 90, 90, True),
        (["sm_61"], 61, 75, True),
    ],
)
def test_gpus_that_there_is_code_for(monkeypatch, archs, ptx, here, runs):
    monkeypatch.setattr(gpu, "gpu_capability", lambda: here)
    metadata = {"gpu": {"archs": archs, "ptx": ptx}}
    if runs:
        gpu.refuse_other_gpus(metadata, "model.tar")
        return
    with pytest.raises(
        TvmqError, match=f"model.tar has code for GPUs of .*; this machine's GPU is sm_{here}: compile"
    ):
        gpu.refuse_other_gpus(metadata, "model.tar")


@pytest.mark.parametrize(
    ("loads", "message"),
    [
        ((), "there is no NVIDIA GPU here, or no driver for it"),
        (("libcuda.so",), r"needs libcudart.so.13: pip install nvidia-cuda-runtime, .*\"tvmq\[cuda\]\""),
        (
            ("libcuda.so", "libcudart"),
            "libtvm_runtime_cuda.so cannot be loaded: this apache-tvm has no runtime",
        ),
    ],
)
def test_libraries_that_are_missing(monkeypatch, loads, message):
    monkeypatch.setattr(gpu.tvm_ffi, "get_global_func", lambda name, allow_missing=False: None)
    monkeypatch.setattr(gpu, "_loads", lambda library: any(name in library for name in loads))
    with pytest.raises(TvmqError, match=message):
        gpu.load_gpu_runtime.__wrapped__()


def test_a_gpu_with_too_little_memory(package, monkeypatch):
    package.run(X)
    engine = package._engine

    def run(tensors):
        raise RuntimeError("CUDA: out of memory")

    monkeypatch.setattr(engine._machine, "run", run)
    monkeypatch.setattr(gpu, "free_bytes", lambda: 7_000_000)
    monkeypatch.setattr(engine, "_needed_bytes", 1_500_000_000)
    with pytest.raises(TvmqError, match="not enough memory: the model takes 1,500 MB, and 7 MB are free"):
        package.run(X)


def test_the_host_is_compared_too(package):
    with pytest.raises(TvmqError, match="m is compiled for aarch64; this machine is"):
        refuse_other_machines({**package.metadata, "arch": "aarch64"}, "m")


def test_device_outputs_of_a_cpu():
    package = tvmq.compile(module(), "llvm")
    with pytest.raises(TvmqError, match="is for a CPU: device_outputs has no effect"):
        package.run(X, device_outputs=True)


def test_nvcc_makes_the_same_package_with_a_gpu_and_without(emulated_gpu, monkeypatch):
    """Where TVM has its runtime for GPUs, it packs the compiled module by itself."""
    try:
        find_nvcc()
    except TvmqError as error:
        pytest.skip(str(error))
    options = tvmq.CompileOptions(cuda_archs=("sm_80", "sm_90"), dump_code=("cuda",))
    there = tvmq.compile(module(), TARGET, options=options)
    monkeypatch.setattr("tvmq.schedules.cuda.device_code._LOADER", "no such function")
    monkeypatch.setenv("TVM_COMPILE_FORCE_FALLBACK", "1")
    away = tvmq.compile(module(), TARGET, options=options)
    assert (there.library, there.metadata) == (away.library, away.metadata)
    assert there.metadata["gpu"]["archs"] == ["sm_80", "sm_90"] and there.metadata["gpu"]["ptx"] == 90
    assert "__global__" in there.sources["cuda"]
