"""CUDA graphs: what they have, and the same numbers in every run, whatever the addresses, without outputs in common."""

from __future__ import annotations

import os
import subprocess
import threading

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import relax, tirx

import tvmq
from tvmq.runtime import gpu
from tvmq.runtime.board import make_bundle
from tvmq.runtime.package import Package
from tvmq.schedules import pipeline
from tvmq.schedules.cuda.graphs import BY_KERNELS
from tvmq.schedules.cuda.scratch import plan_scratch
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

TARGET = parse_target("cuda -arch=sm_80")
SHAPE = (16, 24)
CAPTURE = "vm.builtin.cuda_graph.run_or_capture"


def chain(length: int, also_within: bool = False) -> tvm.IRModule:
    """Softmax along the columns, whose sums are memory of the kernel's own, and along rows, in turn.

    Parameters
    ----------
    also_within : the second value is an output too, and the input and a constant.
    """
    x = relax.Var("x", relax.TensorType(SHAPE, "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            values = [x]
            for number in range(length):
                values.append(builder.emit(relax.op.nn.softmax(values[-1], axis=number % 2)))
            last = builder.emit(relax.op.reshape(values[-1], (SHAPE[1], SHAPE[0])))
            every = relax.Tuple([last, values[2], x, relax.const(np.ones(3, np.float32))])
            result = builder.emit_output(every if also_within else last)
        builder.emit_func_output(result)
    return builder.get()


def expected(x: np.ndarray, length: int) -> np.ndarray:
    for number in range(length):
        e = np.exp(x - x.max(number % 2, keepdims=True))
        x = e / e.sum(number % 2, keepdims=True)
    return x


def compiled(mod: tvm.IRModule, cuda_graph: bool = True) -> Package:
    return tvmq.compile(mod, TARGET, options=tvmq.CompileOptions(cuda_graph=cuda_graph))


def inputs(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def on_gpu(array: np.ndarray) -> tvm_ffi.Tensor:
    tensor = gpu.empty(array.shape, array.dtype)
    gpu.copy(tvm_ffi.from_dlpack(array), tensor)
    return tensor


def on_host(tensor: tvm_ffi.Tensor) -> np.ndarray:
    array = np.empty(tuple(tensor.shape), str(tensor.dtype))
    gpu.copy(tensor, tvm_ffi.from_dlpack(array))
    gpu.wait()
    return array


@pytest.mark.parametrize(("length", "has_graph"), [(6, True), (4, False)])
def test_kernels_within_are_captured(gpu_compiler, length, has_graph):
    """The first and the last read the input and write the output, and two are fewer than it takes."""
    text = pipeline.build(chain(length), TARGET, row_of(TARGET), cuda_graph=True).executable.as_text()
    assert (CAPTURE in text) == (f"@{BY_KERNELS}:" in text) == has_graph
    if has_graph:
        parts = {part.partition(":")[0]: part for part in text.split("\n\n")}
        calls = {name: parts[name].count("  call  softmax") for name in ("@main", "@main_cuda_graph_capture")}
        assert calls == {"@main": 2, "@main_cuda_graph_capture": 4}
    assert CAPTURE not in pipeline.build(chain(length), TARGET, row_of(TARGET)).executable.as_text()


def test_graphs_of_few_kernels_are_none(gpu_compiler):
    """Every third kernel reads the input, so that there are two kernels between, and graphs of one."""
    x = relax.Var("x", relax.TensorType(SHAPE, "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            value = x
            for _ in range(5):
                value = builder.emit(relax.op.nn.softmax(relax.op.nn.softmax(value, axis=1), axis=1))
                value = builder.emit(relax.op.add(value, x))
            result = builder.emit_output(value)
        builder.emit_func_output(result)
    built = pipeline.build(builder.get(), TARGET, row_of(TARGET), cuda_graph=True)
    assert CAPTURE not in built.executable.as_text()


def test_runs_are_those_without_graphs(gpu_compiler):
    """With arrays, with tensors at other addresses, and with outputs that stay: none is written to by a later run."""
    package, plain = compiled(chain(6, also_within=True)), compiled(chain(6, also_within=True), False)
    tensors = [on_gpu(inputs(seed)) for seed in range(4)]
    assert len({tensor.data_ptr() for tensor in tensors}) == 4
    kept = []
    for seed, tensor in enumerate(tensors):
        x = inputs(seed)
        found = package.run(x)
        for name, value in plain.run(x).items():
            np.testing.assert_array_equal(found[name], value)
        np.testing.assert_allclose(next(iter(found.values())).reshape(SHAPE), expected(x, 6), rtol=1e-4)
        kept.append((found, package.run(tensor, device_outputs=True)))
    addresses = [output.data_ptr() for _, there in kept for output in there.values()]
    assert len(set(addresses)) == len(addresses)
    for arrays, there in kept:
        for name, value in arrays.items():
            np.testing.assert_array_equal(on_host(there[name]), value)


def test_profile_shows_all_kernels(gpu_compiler):
    package, plain = compiled(chain(6)), compiled(chain(6), False)
    package.run(inputs(0))
    names = [[kernel.kernel for kernel in each.profile(inputs(0))] for each in (package, plain)]
    assert names[0] == names[1] and len(names[0]) == 6
    np.testing.assert_array_equal(*(next(iter(each.run(inputs(1)).values())) for each in (package, plain)))


def test_one_engine_captures_while_others_wait(gpu_compiler):
    """The emulated GPU refuses what CUDA refuses while a stream captures, in whatever thread."""
    packages = [compiled(chain(6)) for _ in range(3)]
    found: list[np.ndarray] = []

    def run(package):
        for _ in range(5):
            found.append(next(iter(package.run(inputs(0)).values())))

    threads = [threading.Thread(target=run, args=(package,)) for package in packages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 15
    for value in found:
        np.testing.assert_array_equal(value, found[0])


def test_memory_of_a_kernel_becomes_a_parameter(gpu_compiler):
    """Those of the softmax of columns, two rows each; the others stay as they are."""
    mod, _ = pipeline.to_scheduled_kernels(chain(2), TARGET, row_of(TARGET))
    planned = plan_scratch(mod)
    for name in ("softmax", "softmax1"):
        before, after = (each[name] for each in (mod, planned))
        count = before.script().count("T.alloc_buffer")
        assert len(after.params) == len(before.params) + count
        assert "T.alloc_buffer" not in after.script()
    assert {name: len(planned[name].params) for name in ("softmax", "softmax1")} == {
        "softmax": 4,
        "softmax1": 2,
    }
    assert isinstance(planned["softmax"], tirx.PrimFunc)
    relax.analysis.well_formed(planned)
    built = pipeline.build(chain(2), TARGET, row_of(TARGET))
    x = inputs(0)
    main = relax.VirtualMachine(built.executable, tvm.cuda(0))["main"]
    found = main(tvm.runtime.tensor(x, tvm.cuda(0))).numpy().reshape(SHAPE)
    np.testing.assert_allclose(found, expected(x, 2), rtol=1e-4)
    assert built.activation_bytes >= x.nbytes + 2 * 4 * SHAPE[1]


def test_the_runner_without_python(gpu_compiler, emulated_gpu, tmp_path):
    """The first run captures, and those behind it launch the graph."""
    bundle, x = make_bundle(compiled(chain(6)), tmp_path / "bundle"), inputs(0)
    np.save(tmp_path / "x.npy", x)
    command = [bundle / "tvmq-run", bundle, "--input", f"x={tmp_path / 'x.npy'}", "--output-dir", tmp_path]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(emulated_gpu.folder())}
    for repeat in ("1", "3"):
        subprocess.run([*map(str, command), "--repeat", repeat], check=True, env=environment)
        found = np.load(tmp_path / "0.npy").reshape(SHAPE)
        np.testing.assert_allclose(found, expected(x, 6), rtol=1e-4)
