"""Recurrent layers: what describes one, and how the passes know its kernel among the calls of a module.

    all steps, last h, last c = call_tir(f, (x, weights, bias, peepholes, lengths, first h, first c))
    f's attribute ``tvmq.recurrence`` is the layer as JSON

Its recurrent weights are quantized as those of a product ``[K, N]`` are: there is a pair in their place among the
operands.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

import tvm
from tvm import IRModule, relax

from .graph import op_name

ATTRIBUTE = "tvmq.recurrence"

WEIGHTS = 1
"""Place of the recurrent weights among a kernel's operands; output channels are their axis 1."""

RECURRENT_WEIGHTS = "recurrent_weights"
"""Key of what a layer's record says of them."""

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
"""Cell to how many gates it has."""


@dataclass(frozen=True)
class GateFunction:
    """An activation: a key of ``compute.gate_functions.FORMULAS``, and its parameters; 0 of those that it lacks."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True)
class Recurrence:
    """One direction of a recurrent layer, in float32.

    Attributes
    ----------
    cell : a key of ``GATES``.
    steps, batch, hidden : extents.
    functions : those of ONNX in their order: f, and of GRU and LSTM g, and of LSTM h.
    is_reverse : from the last step to the first.
    clip : bound of what the functions are applied to, but for c, as in onnxruntime; None for none.
    is_coupled : the forget gate of the LSTM is 1 - i.
    resets_product : the reset gate of the GRU comes behind the product.
    """

    cell: str
    steps: int
    batch: int
    hidden: int
    functions: tuple[GateFunction, ...]
    is_reverse: bool = False
    clip: float | None = None
    is_coupled: bool = False
    resets_product: bool = False

    @property
    def gates(self) -> int:
        """How many gates it has."""
        return GATES[self.cell]

    @property
    def resets_state(self) -> bool:
        """Whether the last gate's product is that of the state that the GRU's reset gate has let through."""
        return self.cell == "GRU" and not self.resets_product

    def dumps(self) -> str:
        """Return it as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def loads(text: str) -> Recurrence:
        """Return what ``dumps`` has written."""
        fields = json.loads(text)
        functions = tuple(GateFunction(**function) for function in fields.pop("functions"))
        return Recurrence(functions=functions, **fields)


def recurrences(mod: IRModule) -> dict[tvm.ir.GlobalVar, Recurrence]:
    """Return the recurrent layers of a module, by their kernels."""
    return {
        var: Recurrence.loads(str(func.attrs[ATTRIBUTE]))
        for var, func in mod.functions.items()
        if isinstance(func, tvm.tirx.PrimFunc) and func.attrs and ATTRIBUTE in func.attrs
    }


def kernel_of(value: relax.Expr) -> tvm.ir.GlobalVar | None:
    """Return the kernel that a value calls; None where it is no such call."""
    return value.args[0] if op_name(value) == "relax.call_tir" else None


def operands_of(call: relax.Call) -> list[relax.Expr]:
    """Return the operands of a kernel's call."""
    return list(call.args[1].fields)


def with_operands(
    call: relax.Call, operands: Sequence[relax.Expr], kernel: tvm.ir.GlobalVar | None = None
) -> relax.Call:
    """Return the call with other operands, and of another kernel."""
    given = [kernel or call.args[0], relax.Tuple(list(operands)), *call.args[2:]]
    return relax.Call(call.op, given, call.attrs, call.ty_args, span=call.span)
