"""Names of the user's layers on the calls that they became."""

from __future__ import annotations

from collections.abc import Mapping

import tvm
from tvm import relax

from ..passes.hub.graph import bindings_of, rebuild, with_layer_name


def with_spans(mod: tvm.IRModule, layer_of: Mapping[relax.Var, str]) -> tvm.IRModule:
    """Return the module with each call's span set: the layer whose result, in ``layer_of``, is bound next."""
    names: dict[relax.Var, str] = {}
    waiting: list[relax.Var] = []
    for binding in bindings_of(mod):
        waiting.append(binding.var)
        if binding.var in layer_of:
            names.update(dict.fromkeys(waiting, layer_of[binding.var]))
            waiting.clear()

    def name_call(builder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        named = isinstance(value, relax.Call) and var in names
        return with_layer_name(value, names[var]) if named else value

    return rebuild(mod, name_call)
