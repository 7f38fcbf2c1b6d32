"""Building, running and looking at small Relax modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tvm
from tvm import relax

from tvmq.passes.hub.graph import bindings_of, dtype_of, op_name, shape_of, with_layer_name
from tvmq.passes.hub.layers import Layer, with_layers
from tvmq.passes.hub.own_code import compiled
from tvmq.passes.hub.row_pairs import emit_row_pair


class Builder:
    """``add`` binds a call as a layer of that name; ``vars`` has them all."""

    def __init__(self, builder: relax.BlockBuilder):
        self._builder = builder
        self.layers: list[Layer] = []

    def add(self, call: relax.Expr, name: str = "", op: str = "") -> relax.Var:
        if isinstance(call, relax.Call):
            call = with_layer_name(call, name or f"layer{len(self.layers)}")
            self.layers.append(Layer(name or f"layer{len(self.layers)}", op or "Any"))
        return self._builder.emit(call)

    def row_pair(self, data: relax.Expr, **form: bool) -> relax.Var:
        return emit_row_pair(self._builder, data, name="rows", **form)


def module(
    inputs: dict[str, Sequence[int]], body: Callable[..., relax.Expr], dtype: str = "float32"
) -> tvm.IRModule:
    """Return the module whose ``main`` is ``body(builder, *inputs)``; each call has a layer record."""
    params = [relax.Var(name, relax.TensorType(tuple(shape), dtype)) for name, shape in inputs.items()]
    bb = relax.BlockBuilder()
    with bb.function("main", params):
        with bb.dataflow():
            builder = Builder(bb)
            result = body(builder, *params)
            output = bb.emit_output(result)
        bb.emit_func_output(output)
    unique = {layer.name: layer for layer in builder.layers}
    return with_layers(bb.get(), list(unique.values()))


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def const(*shape: int, seed: int = 1) -> relax.Expr:
    return relax.const(random(*shape, seed=seed))


def operators(mod: tvm.IRModule) -> list[str]:
    """Return the operators of ``main`` in order, without their prefixes."""
    names = (op_name(binding.value) for binding in bindings_of(mod))
    return [name.removeprefix("relax.").removeprefix("nn.") for name in names if name]


def calls(mod: tvm.IRModule, name: str) -> list[relax.Call]:
    """Return the calls of one operator in order."""
    return [binding.value for binding in bindings_of(mod) if op_name(binding.value) == f"relax.{name}"]


def run(mod: tvm.IRModule, seed: int = 7) -> list[np.ndarray]:
    """Return the module's results for random inputs."""
    rng = np.random.default_rng(seed)
    arrays = []
    for param in mod["main"].params:
        if dtype_of(param).startswith("float"):
            arrays.append(rng.standard_normal(shape_of(param)).astype(dtype_of(param)))
        else:
            arrays.append(rng.integers(0, 100, shape_of(param)).astype(dtype_of(param)))
    main = compiled(mod)["main"]
    result = main(*map(tvm.runtime.tensor, arrays))
    return [result.numpy()] if hasattr(result, "numpy") else [item.numpy() for item in result]


def assert_close(before: tvm.IRModule, after: tvm.IRModule, products: int = 1) -> None:
    """Check that two modules give the same numbers up to rounding.

    ``products`` is the length of the longest sum. Both round each of its terms, and folded weights once more,
    to a relative 2^-24; the sum of absolute terms is at most about ``products`` times the largest value, which
    is of the order of 10 for normal inputs and weights. The factor 8 covers the few operators behind.
    """
    tolerance = 8 * (products + 4) * 2.0**-24 * 10
    for old, new in zip(run(before), run(after), strict=True):
        np.testing.assert_allclose(new, old, rtol=tolerance, atol=tolerance)
