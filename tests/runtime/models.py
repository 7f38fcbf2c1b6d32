"""A small model, and packages of it for several machines."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import tvm
from tvm import relax

from tvmq.passes.hub.graph import OUTPUTS
from tvmq.passes.hub.layers import Layer, with_layers
from tvmq.runtime.describe import describe
from tvmq.runtime.package import Package

CORTEX_A72 = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a72", "mattr": ["+neon"]}
# Plain llvm: every machine of this architecture runs it.
HOST = {"kind": "llvm"}
ARM_COMPILER = "aarch64-linux-gnu-g++"
ROWS, DEPTH, COLUMNS = 3, 40, 24
SIZE = 64


def weights() -> np.ndarray:
    return np.random.default_rng(0).integers(-128, 128, (DEPTH, COLUMNS)).astype("int8")


def model() -> tvm.IRModule:
    """``sums = x @ weights`` in int32, ``scaled = sums * 0.25 + y`` in float32: exact for small integers."""
    builder = relax.BlockBuilder()
    x = relax.Var("x:0", relax.TensorType((ROWS, DEPTH), "int8"))
    y = relax.Var("y", relax.TensorType((COLUMNS,), "float32"))
    with builder.function("main", [x, y]):
        with builder.dataflow():
            wide = [builder.emit(relax.op.astype(tensor, "int32")) for tensor in (x, relax.const(weights()))]
            sums = builder.emit(relax.op.matmul(*wide))
            scaled = builder.emit(
                relax.op.multiply(relax.op.astype(sums, "float32"), relax.const(0.25, "float32"))
            )
            output = builder.emit_output(relax.Tuple([sums, builder.emit(relax.op.add(scaled, y))]))
        builder.emit_func_output(output)
    mod = builder.get()
    mod.update_func(
        mod.get_global_var("main"), mod["main"].with_attr(OUTPUTS, json.dumps(["sums", "scaled"]))
    )
    return with_layers(mod, [Layer("fc", "MatMul", "int8"), Layer("scale", "Mul", reason="because")])


def inputs() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    x = generator.integers(-128, 128, (ROWS, DEPTH)).astype("int8")
    return {"x:0": x, "y": generator.integers(-9, 9, COLUMNS).astype("float32")}


def expected() -> dict[str, np.ndarray]:
    arrays = inputs()
    sums = arrays["x:0"].astype("int32") @ weights().astype("int32")
    return {"sums": sums, "scaled": sums.astype("float32") * np.float32(0.25) + arrays["y"]}


def package(attributes: dict[str, Any], cross_compiler: str | None = None) -> Package:
    mod, target = model(), tvm.target.Target(attributes)
    metadata = describe(mod, target, "int8", kernels=[("matmul", ["fc"]), ("multiply", ["scale"])])
    return Package.from_executable(tvm.compile(mod, target), metadata, cross_compiler)


def parallel_package(attributes: dict[str, Any] | None = None, cross_compiler: str | None = None) -> Package:
    """``output_0 = x @ x`` for two cores, float32 ``[SIZE, SIZE]``: one kernel, which runs in parallel."""
    x = relax.Var("x", relax.TensorType((SIZE, SIZE), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            output = builder.emit_output(relax.op.matmul(x, x))
        builder.emit_func_output(output)
    schedule = tvm.s_tir.Schedule(relax.transform.LegalizeOps()(builder.get()))
    schedule.work_on("matmul")
    schedule.parallel(schedule.get_loops(schedule.get_sblock("matmul"))[0])
    target = tvm.target.Target(attributes or {**HOST, "num-cores": 2})
    metadata = describe(schedule.mod, target, "float")
    return Package.from_executable(tvm.compile(schedule.mod, target), metadata, cross_compiler)


def heavy_package() -> Package:
    """``output_0 = x @ weights``, float32 ``[1, 2048]``: 16 MB of weights and hardly any activations."""
    side = 2048
    x = relax.Var("x", relax.TensorType((1, side), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            constant = relax.const(np.random.default_rng(0).random((side, side), "float32"))
            output = builder.emit_output(relax.op.matmul(x, constant))
        builder.emit_func_output(output)
    mod, target = builder.get(), tvm.target.Target(HOST)
    return Package.from_executable(tvm.compile(mod, target), describe(mod, target, "float"))
