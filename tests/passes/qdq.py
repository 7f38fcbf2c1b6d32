"""Q/DQ modules for tests: written down with a few words, run as they stand and realized."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import tvm
from tvm import relax

from tvmq.passes.hub.graph import bindings_of, op_name, with_layer_name
from tvmq.passes.hub.layers import Layer, with_layers
from tvmq.passes.realize.realize import Realize
from tvmq.schedules.pipeline import build
from tvmq.targets.rows import PORTABLE as ROW

TARGET = {"kind": "llvm"}


class Hub:
    """A builder of one Q/DQ function; the methods return variables."""

    def __init__(self, **inputs: tuple[tuple[int, ...], str]) -> None:
        self.params = {name: relax.Var(name, relax.TensorType(*ty)) for name, ty in inputs.items()}
        self.builder = relax.BlockBuilder()
        self._names = iter(range(1000))
        self.layers: list[Layer] = []

    def emit(self, call: relax.Expr, name: str | None = None) -> relax.Var:
        name = name or f"node{next(self._names)}"
        self.layers.append(Layer(name, ""))
        return self.builder.emit(with_layer_name(call, name))

    def quantize(self, value: relax.Expr, scale: float, zero_point: int, dtype: str = "uint8") -> relax.Var:
        return self.emit(
            relax.op.quantize(
                value,
                relax.const(np.float32(scale)),
                relax.const(np.asarray(zero_point, dtype)),
                out_dtype=dtype,
            )
        )

    def dequantize(self, value: relax.Expr, scale: float, zero_point: int, dtype: str = "uint8") -> relax.Var:
        return self.emit(
            relax.op.dequantize(
                value, relax.const(np.float32(scale)), relax.const(np.asarray(zero_point, dtype))
            )
        )

    def pair(self, value: relax.Expr, scale: float, zero_point: int, dtype: str = "uint8") -> relax.Var:
        return self.dequantize(self.quantize(value, scale, zero_point, dtype), scale, zero_point, dtype)

    def weight(self, values: np.ndarray, scale: np.ndarray, axis: int, zero_point: int = 0) -> relax.Var:
        zeros = np.full(scale.shape, zero_point, values.dtype)
        return self.emit(
            relax.op.dequantize(relax.const(values), relax.const(scale), relax.const(zeros), axis=axis)
        )

    def module(self, define: Callable[[Hub], relax.Expr | Sequence[relax.Expr]]) -> tvm.IRModule:
        """Return the module whose result ``define`` makes."""
        with self.builder.function("main", list(self.params.values())):
            with self.builder.dataflow():
                result = define(self)
                result = relax.Tuple(list(result)) if isinstance(result, list | tuple) else result
                output = self.builder.emit_output(result)
            self.builder.emit_func_output(output)
        return with_layers(self.builder.get(), self.layers)


def run(mod: tvm.IRModule, *arrays: np.ndarray) -> list[np.ndarray]:
    """Compile a module as it stands and run it."""
    built = build(mod, tvm.target.Target(TARGET), ROW)
    result = relax.VirtualMachine(built.executable, tvm.cpu())["main"](*map(tvm.runtime.tensor, arrays))
    results = [result] if hasattr(result, "numpy") else list(result)
    return [value.numpy() for value in results]


def realize(mod: tvm.IRModule, row=ROW) -> tvm.IRModule:
    return Realize(row)(mod)


def kernels(mod: tvm.IRModule) -> list[str]:
    """Return the operators of ``main`` in order: names of kernels without their shapes, names of Relax operators."""
    names = []
    for binding in bindings_of(mod):
        name = op_name(binding.value)
        if name == "relax.call_tir":
            name = re.sub(r"(_[0-9x]+_\d+ch)?\d*$", "", binding.value.args[0].name_hint)
        if name:
            names.append("quantize" if name == "relax.quantize" else name)  # it is one, by and by
    return names
