"""A Relax function of kernel calls --> those calls, the tensors that they share, and the constants.

lv = alloc_tensor(4096); conv(x, constant, lv); lv1 = reshape(lv); y = alloc_tensor(40); dense(lv1, constant, y); y
-->
conv(input 0, weight 0, value a); dense(value a, weight 1152, value b); outputs: value b
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from tvm import relax

from ...errors import TvmqError
from ...passes.hub.graph import dtype_of, is_constant, layer_name, op_name, shape_of, to_numpy

WEIGHT_ALIGNMENT = 64
"""Bytes that the offset of each constant is a multiple of: a line of the cache."""


@dataclass(frozen=True)
class Input:
    """The model's input of this number."""

    index: int


@dataclass(frozen=True)
class Weight:
    """The constant that starts at this byte."""

    offset: int


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of so many bytes, for which there must be a place."""

    bytes: int


Tensor = Input | Weight | Value


@dataclass
class Calls:
    """What a function does.

    Attributes
    ----------
    kernels : for each call in order, the kernel's name and its arguments.
    outputs : what the function returns.
    weights : the constants, one behind the other; equal ones are there once.
    """

    kernels: list[tuple[str, tuple[Tensor, ...]]] = field(default_factory=list)
    outputs: tuple[Tensor, ...] = ()
    weights: bytearray = field(default_factory=bytearray)


def calls_of(main: relax.Function, inputs: Sequence[relax.Var]) -> Calls:
    """Return the calls of a function that ``pipeline.into_destinations`` made.

    Raises
    ------
    TvmqError : it does more than call kernels; the message names the layer.
    """
    reader = _Reader()
    reader.known.update({var: Input(index) for index, var in enumerate(inputs)})
    for block in main.body.blocks:
        for binding in block.bindings:
            reader.read(binding)
    found = reader.of(main.body.body)
    reader.calls.outputs = found if isinstance(found, tuple) else (found,)
    return reader.calls


def refusal(what: str, layers: Sequence[str] = ()) -> TvmqError:
    """Return the error for what only TVM's runtime does, in a layer of this name where it has one."""
    named = f" of layer {', '.join(map(repr, layers))}" if any(layers) else ""
    return TvmqError(f"a C library cannot hold {what}{named}: it takes TVM's runtime, which a package has")


@dataclass
class _Reader:
    """What is known behind each binding: the tensors, or tuples of them, that variables stand for."""

    calls: Calls = field(default_factory=Calls)
    known: dict[relax.Var, Any] = field(default_factory=dict)
    offsets: dict[bytes, int] = field(default_factory=dict)

    def read(self, binding: relax.Binding) -> None:
        var, value = binding.var, binding.value
        if op_name(value) == "relax.builtin.alloc_tensor":
            self.known[var] = Value(math.prod([tvm.DataType(dtype_of(var)).itemsize, *shape_of(var)]))
        elif op_name(value) == "relax.reshape":
            self.known[var] = self.of(value.args[0])
        elif isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.GlobalVar):
            self.calls.kernels.append((value.op.name_hint, tuple(map(self.of, value.args))))
        elif isinstance(value, relax.Call | relax.If):
            raise refusal(repr(op_name(value) or str(value.op)), [layer_name(value)])
        else:
            self.known[var] = self.of(value)

    def of(self, expr: relax.Expr) -> Any:
        """Return what an expression stands for."""
        if isinstance(expr, relax.Tuple):
            return tuple(map(self.of, expr.fields))
        if isinstance(expr, relax.TupleGetItem):
            return self.of(expr.tuple_value)[expr.index]
        return self._weight(to_numpy(expr)) if is_constant(expr) else self.known[expr]

    def _weight(self, array: np.ndarray) -> Weight:
        content, weights = array.tobytes(), self.calls.weights
        if content not in self.offsets:
            weights.extend(bytes(-len(weights) % WEIGHT_ALIGNMENT))
            self.offsets[content] = len(weights)
            weights.extend(content)
        return Weight(self.offsets[content])
