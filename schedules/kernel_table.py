"""Which of the user's nodes each kernel call computes.

Fusion keeps the variable of the last operator of each group. So a call computes the nodes of all operators, as they
were before fusion, from which its variable was made without passing through another call's variable.
"""

from __future__ import annotations

import tvm
from tvm import relax

from ..passes.graph import bindings_of, layer_name


class KernelTable:
    """Taken from a module before fusion; asked about the same module after it."""

    def __init__(self, mod: tvm.IRModule) -> None:
        self._names: dict[str, str] = {}
        self._inputs: dict[str, list[str]] = {}
        for binding in bindings_of(mod):
            self._names[binding.var.name] = layer_name(binding.value)
            self._inputs[binding.var.name] = _variables_in(binding.value)

    def kernels(self, mod: tvm.IRModule) -> list[tuple[str, list[str]]]:
        """Return for each kernel call, in order, the kernel's name and the nodes that it computes."""
        calls = [
            (binding.var.name, binding.value)
            for binding in bindings_of(mod)
            if isinstance(binding.value, relax.Call) and _kernel_of(binding.value)
        ]
        made = {name for name, _ in calls}
        return [(_kernel_of(call), self._nodes_of(name, made)) for name, call in calls]

    def _nodes_of(self, variable: str, made: set[str]) -> list[str]:
        found: list[str] = []
        pending, seen = [variable], {variable}
        while pending:
            current = pending.pop()
            name = self._names.get(current, "")
            if name and name not in found:
                found.append(name)
            for source in self._inputs.get(current, ()):
                if source not in made and source not in seen:
                    seen.add(source)
                    pending.append(source)
        return found[::-1]


def _kernel_of(call: relax.Call) -> str:
    """Return the name of the function that a ``call_tir`` calls; empty for any other call."""
    is_kernel = isinstance(call.op, tvm.ir.Op) and call.op.name in (
        "relax.call_tir",
        "relax.call_tir_inplace",
    )
    return str(call.args[0].name_hint) if is_kernel else ""


def _variables_in(value: relax.Expr) -> list[str]:
    names: list[str] = []

    def visit(expr: relax.Expr) -> None:
        if isinstance(expr, relax.Var) and not isinstance(expr, tvm.ir.GlobalVar):
            names.append(expr.name)

    relax.analysis.post_order_visit(value, visit)
    return names
