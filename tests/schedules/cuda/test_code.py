"""Kernels for a GPU: what the code generation gets, and what TVM loads in the end."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from tvmq.schedules.code import compile_kernel, generate
from tvmq.schedules.cuda import device_code
from tvmq.schedules.cuda.device_code import DeviceCode, source_module
from tvmq.schedules.cuda.lowering import OWN_BARRIERS, lower
from tvmq.schedules.pipeline import plan_memory, to_virtual_machine
from tvmq.targets.parse import parse_target

TARGET = parse_target("cuda -arch=sm_80")
COUNT = 100


def kernel(factor: int, **attributes: object) -> tirx.PrimFunc:
    """``c = a * (1 + 2 + 3) + factor * w``, where threads give each other the products in shared memory."""
    with IRBuilder() as builder, T.prim_func():
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True, **attributes})
        a, w, c = (T.arg(name, T.buffer((COUNT,), "int32")) for name in "awc")
        with T.launch_thread("blockIdx.x", 2) as block, T.launch_thread("threadIdx.x", 64) as thread:
            shared = T.alloc_buffer((64,), "int32", scope="shared.dyn")
            sums = T.alloc_buffer((1,), "int32", scope="local")
            place = block * 64 + thread
            T.buffer_store(sums, 0, [0])
            with T.unroll(3) as step:
                T.buffer_store(sums, sums[0] + a[tirx.min(place, COUNT - 1)] * (step + 1), [0])
            T.buffer_store(shared, sums[0], [63 - thread])
            if attributes.get(OWN_BARRIERS):
                T.evaluate(T.call_extern("void", "tvmq_barrier"))
            T.buffer_store(sums, shared[63 - thread], [0])
            with T.If(place < COUNT), T.Then():
                T.buffer_store(c, sums[0] + w[place] * factor, [place])
    return builder.get()


def model() -> tvm.IRModule:
    """Two kernels that read one constant, 0 to 99."""
    x = relax.Var("x", relax.TensorType((COUNT,), "int32"))
    builder = relax.BlockBuilder()
    weight = relax.const(np.arange(COUNT, dtype=np.int32))
    with builder.function("main", [x]):
        with builder.dataflow():
            value = x
            for factor in (1, 3):
                function = builder.add_func(kernel(factor), f"kernel{factor}")
                value = builder.emit(relax.op.call_tir(function, relax.Tuple([value, weight]), x.ty))
            result = builder.emit_output(value)
        builder.emit_func_output(result)
    return builder.get()


def source_of(func: tirx.PrimFunc) -> str:
    module = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    with TARGET:
        return str(source_module(lower(module, TARGET)[1], TARGET).inspect_source("cuda"))


def test_unrolled_loops_stay_and_barriers_come():
    source = source_of(kernel(1))
    assert source.count("#pragma unroll") == 1 and "; ++" in source
    assert source.count("__syncthreads();") == 1


def test_a_kernel_with_barriers_of_its_own_gets_none():
    source = source_of(kernel(1, **{OWN_BARRIERS: True}))
    assert "__syncthreads();" not in source and "tvmq_barrier();" in source


def test_what_is_saved_is_the_source_with_code_in_its_place():
    module = source_module(
        lower(tvm.IRModule({"main": kernel(1).with_attr("global_symbol", "main")}), TARGET)[1], TARGET
    )
    part = DeviceCode(module, b"the code")
    before, after = part.saved_source, part.saved
    assert before.startswith(b"\4" + bytes(7) + b"cuda") and before.endswith(part.source.encode())
    assert after.startswith(b"\6" + bytes(7) + b"fatbin") and after.endswith(b"\10" + bytes(7) + b"the code")
    assert b"main_kernel" in after and b"threadIdx.x" in after


def test_with_a_gpu_there_the_source_is_the_same(gpu_compiler, monkeypatch):
    """TVM would compile at once where it has its runtime for GPUs."""
    monkeypatch.delenv("TVM_COMPILE_FORCE_FALLBACK", raising=False)
    with TARGET:
        functions = lower(tvm.IRModule({"main": kernel(1).with_attr("global_symbol", "main")}), TARGET)[1]
        there = source_module(functions, TARGET)
        monkeypatch.setattr(device_code, "_LOADER", "no such function")
        monkeypatch.setenv("TVM_COMPILE_FORCE_FALLBACK", "1")
        away = source_module(functions, TARGET)
    loaded = DeviceCode(there, b"code")
    assert (loaded.source, loaded.saved) == (
        DeviceCode(away, b"code").source,
        DeviceCode(away, b"code").saved,
    )


@pytest.mark.parametrize("kernels_a_part", [8, 1])
def test_a_model_runs(gpu_compiler, monkeypatch, kernels_a_part):
    monkeypatch.setattr("tvmq.schedules.cuda.code.KERNELS_A_PART", kernels_a_part)
    with TARGET:
        executable = generate(to_virtual_machine()(plan_memory()(model())), TARGET)
    assert len(executable.device_code) == 2 // min(kernels_a_part, 2)
    assert executable.gpu["archs"] == ["sm_80"] and executable.gpu["ptx"] == 80
    machine = relax.VirtualMachine(executable, tvm.cuda(0))
    x, w = np.arange(-50, 50, dtype=np.int32), np.arange(COUNT)
    result = machine["main"](tvm.runtime.tensor(x, tvm.cuda(0)))
    assert result.device == tvm.cuda(0)
    np.testing.assert_array_equal(result.numpy(), (x * 6 + w) * 6 + 3 * w)


def test_one_kernel_runs(gpu_compiler):
    code = compile_kernel(kernel(2), TARGET)
    a, w, c = (tvm.runtime.tensor(np.arange(COUNT, dtype=np.int32), tvm.cuda(0)) for _ in range(3))
    code["main"](a, w, c)
    np.testing.assert_array_equal(c.numpy(), np.arange(COUNT) * 8)
