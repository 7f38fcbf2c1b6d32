"""TVM with the emulated GPU as its device "cuda": arrays, kernels by `tvm.compile`, networks in the virtual machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import relax
from tvm.s_tir import dlight
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T
from tvm.target import Target

from . import CALLBACKS, TrueGpu, folder, load, registered
from .fragments import from_registers, registers

TARGET = {"kind": "cuda", "arch": "sm_80"}


@pytest.fixture(autouse=True)
def emulated() -> Iterator[None]:
    try:
        load()
    except TrueGpu as error:
        pytest.skip(str(error))
    with registered():
        yield


def target() -> Target:
    return Target(TARGET, host={"kind": "llvm"})


def on_gpu(array: np.ndarray) -> tvm.runtime.Tensor:
    return tvm.runtime.tensor(array, device=tvm.cuda(0))


def product() -> tvm.IRModule:
    """Blocks of one warp: a fragment by way of shared memory, one by way of registers, and their product."""
    with IRBuilder() as builder, T.prim_func():
        T.func_name("main")
        T.func_attr({"tirx.noalias": True, "global_symbol": "main"})
        a = T.arg("a", T.buffer((8, 128), "uint32"))
        b = T.arg("b", T.buffer((8, 64), "uint32"))
        d = T.arg("d", T.buffer((8, 128), "int32"))
        with T.launch_thread("blockIdx.x", 8) as block, T.launch_thread("threadIdx.x", 32) as lane:
            rows = T.alloc_buffer((128,), "uint32", scope="shared.dyn")
            x = T.alloc_buffer((4,), "uint32", scope="local")
            y = T.alloc_buffer((2,), "uint32", scope="local")
            sums = T.alloc_buffer((4,), "int32", scope="local")

            def call(name: str, *arguments) -> None:
                T.evaluate(T.call_extern("void", f"tvmq_{name}", *arguments))

            call("copy_async_16", rows.access_ptr("w", offset=lane * 4), T.address_of(a[block, lane * 4]))
            call("copy_commit")
            call("copy_wait", 0)
            call("barrier")
            call("shared_load_16", x.access_ptr("w"), rows.access_ptr("r", offset=lane * 4))
            call("load_const_8", y.access_ptr("w"), T.address_of(b[block, lane * 2]))
            with T.unroll(4) as i:
                T.buffer_store(sums, 0, [i])
            call("mma_u8s8", sums.access_ptr("rw"), x.access_ptr("r"), y.access_ptr("r"))
            call("store_16", T.address_of(d[block, lane * 4]), sums.access_ptr("r"))
    return tvm.IRModule({"main": builder.get()})


def test_device():
    device = tvm.cuda(0)
    assert device.exist and not tvm.cuda(1).exist
    assert (device.compute_version, device.warp_size, device.multi_processor_count) == ("8.0", 32, 108)
    assert (device.max_threads_per_block, device.max_shared_memory_per_block) == (1024, 48 << 10)
    assert device.total_global_memory == 80 << 30


def test_compute_capability_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TVMQ_EMULATED_GPU_CAPABILITY", "7.5")
    assert tvm.cuda(0).compute_version == "7.5"


def test_arrays_travel():
    values = np.random.default_rng(0).standard_normal((7, 33)).astype(np.float32)
    there = on_gpu(values)
    np.testing.assert_array_equal(there.numpy(), values)
    again = tvm.runtime.empty(values.shape, "float32", tvm.cuda(0))
    assert (again.numpy().view(np.uint8) == 0xCD).all()  # fresh memory is junk
    there.copyto(again)
    np.testing.assert_array_equal(again.numpy(), values)


def test_kernel():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (8, 16, 32)), rng.integers(-128, 128, (8, 32, 8))
    executable = tvm.compile(product(), target=target())
    lanes = [np.stack([registers(m, 32, which).ravel() for m in ms]) for which, ms in (("a", a), ("b", b))]
    out = tvm.runtime.empty((8, 128), "int32", tvm.cuda(0))
    executable(*(on_gpu(array) for array in lanes), out)
    for got, x, y in zip(out.numpy().reshape(8, 32, 4), a, b, strict=True):
        np.testing.assert_array_equal(from_registers(got), x @ y)


def network() -> tvm.IRModule:
    """softmax(x) + sum(x) of rows: reductions across threads."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((16, 300), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            soft = builder.emit(relax.op.nn.softmax(x))
            out = builder.emit_output(relax.op.add(soft, relax.op.sum(x, axis=[1], keepdims=True)))
        builder.emit_func_output(out)
    return builder.get()


def built(module: tvm.IRModule, **options) -> tvm.runtime.Executable:
    rules = dlight.gpu.Reduction(), dlight.gpu.GeneralReduction(), dlight.gpu.Fallback()
    passes = relax.transform.LegalizeOps(), relax.transform.AnnotateTIROpPattern(), relax.transform.FuseOps()
    with target(), tvm.transform.PassContext(config=options):
        for step in (*passes, relax.transform.FuseTIR(), dlight.ApplyDefaultSchedule(*rules)):
            module = step(module)
        return tvm.compile(module, target=target())


def expected(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True) + x.sum(1, keepdims=True, dtype=np.float64)


def test_network_with_stock_schedules():
    x = np.random.default_rng(0).standard_normal((16, 300)).astype(np.float32)
    main = relax.VirtualMachine(built(network()), tvm.cuda(0))["main"]
    # Sums of 300 numbers below 5 in size: 300 roundings of partial sums below 100.
    np.testing.assert_allclose(main(on_gpu(x)).numpy(), expected(x), atol=300 * 100 * 2.0**-24)


def test_cuda_graph():
    """Captured in the first run, replayed with other numbers in the next."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((16, 30), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            value = x
            for _ in range(3):
                value = builder.emit(relax.op.exp(relax.op.permute_dims(relax.op.nn.softmax(value))))
            out = builder.emit_output(relax.op.negative(value))
        builder.emit_func_output(out)
    module = builder.get()
    plain, graph = built(module), built(module, **{"relax.backend.use_cuda_graph": True})
    assert "cuda_graph" in graph.as_text()
    mains = [relax.VirtualMachine(executable, tvm.cuda(0))["main"] for executable in (plain, graph)]
    for seed in range(3):
        x = on_gpu(np.random.default_rng(seed).standard_normal((16, 30)).astype(np.float32))
        np.testing.assert_array_equal(*(main(x).numpy() for main in mains))


def test_wrong_kernel_raises_its_error():
    with IRBuilder() as builder, T.prim_func():
        T.func_name("main")
        T.func_attr({"global_symbol": "main"})
        a = T.arg("a", T.buffer((32,), "float32"))
        with T.launch_thread("blockIdx.x", 1), T.launch_thread("threadIdx.x", 32) as lane:
            rows = T.alloc_buffer((32,), "float32", scope="shared")
            T.buffer_store(a, rows[lane], [lane])
    executable = tvm.compile(tvm.IRModule({"main": builder.get()}), target=target())
    with pytest.raises(
        Exception,
        match="kernel main_kernel, block .*reads byte 0 of static shared memory, which nobody wrote",
    ):
        executable(on_gpu(np.zeros(32, np.float32)))


@pytest.mark.parametrize("dropped", [None, 0, 1])
def test_each_barrier_of_a_stock_kernel_is_needed(dropped: int | None):
    """TVM stages tiles of a product in shared memory: a barrier before they are read, and before they are new."""

    def without(code: str, *_) -> str:
        parts = code.split("__syncthreads();")
        assert len(parts) == 3
        if dropped is not None:
            parts[dropped : dropped + 2] = ["".join(parts[dropped : dropped + 2])]
        return "__syncthreads();".join(parts)

    builder = relax.BlockBuilder()
    x, y = (relax.Var(name, relax.TensorType((64, 64), "float32")) for name in "xy")
    with builder.function("main", [x, y]):
        with builder.dataflow():
            out = builder.emit_output(relax.op.matmul(x, y))
        builder.emit_func_output(out)
    tvm_ffi.register_global_func(
        CALLBACKS[1], without, override=True
    )  # `registered` puts the former one back
    with target():
        module = relax.transform.LegalizeOps()(builder.get())
        executable = tvm.compile(dlight.ApplyDefaultSchedule(dlight.gpu.Matmul())(module), target=target())
    main = relax.VirtualMachine(executable, tvm.cuda(0))["main"]
    x, y = np.random.default_rng(0).integers(-8, 8, (2, 64, 64)).astype(np.float32)  # exact in float32
    if dropped is None:
        np.testing.assert_array_equal(main(on_gpu(x), on_gpu(y)).numpy(), x @ y)
    else:
        with pytest.raises(Exception, match="of static shared memory, which (thread 0|nobody) wrote"):
            main(on_gpu(x), on_gpu(y))


def test_callbacks_are_put_back():
    load()

    def mine(code: str, *_) -> bytes:
        return b"mine"

    former = tvm_ffi.get_global_func(CALLBACKS[0])
    tvm_ffi.register_global_func(CALLBACKS[0], mine, override=True)
    try:
        with registered():
            assert bytes(tvm_ffi.get_global_func(CALLBACKS[0])("")) != b"mine"
        assert bytes(tvm_ffi.get_global_func(CALLBACKS[0])("")) == b"mine"
    finally:
        tvm_ffi.register_global_func(CALLBACKS[0], former, override=True)


PROGRAM = """
import ctypes, sys
runtime = ctypes.CDLL(sys.argv[1] + "/libcudart.so.13")
driver = ctypes.CDLL(sys.argv[1] + "/libcuda.so.1")
count, name = ctypes.c_int(), ctypes.create_string_buffer(64)
assert runtime.cudaGetDeviceCount(ctypes.byref(count)) == 0
assert driver.cuDeviceGetName(name, 64, 0) == 0
print(count.value, name.value.decode())
"""


def test_libraries_for_programs():
    """By their true names, with the versions of symbols that TVM's library asks for."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder())], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 emulated GPU\n"


CPP = """
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/function.h>
#include <cstdio>
int main() {
  std::printf("%d\\n", tvm::ffi::Function::GetGlobal("device_api.cuda").has_value());
}
"""


def test_programs_find_it_by_the_library_path(tmp_path):
    """A C++ program that is linked with TVM's CUDA runtime."""
    library = os.path.join(os.path.dirname(tvm.__file__), "lib")
    ffi = tvm_ffi.libinfo.find_libtvm_ffi()
    (tmp_path / "program.cc").write_text(CPP)
    includes = [f"-I{path}" for path in tvm_ffi.libinfo.include_paths()]
    libraries = [f"{library}/libtvm_runtime.so", f"{library}/libtvm_runtime_cuda.so", ffi]
    paths = f"{folder()}:{library}:{os.path.dirname(ffi)}"
    environment = os.environ | {"LD_LIBRARY_PATH": paths}
    options = ["-std=c++17", *includes, "-Wl,--no-as-needed", *libraries]
    command = ["g++", str(tmp_path / "program.cc"), "-o", str(tmp_path / "program"), *options]
    subprocess.run(command, check=True, env=environment)
    done = subprocess.run([tmp_path / "program"], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("1\n", "")
