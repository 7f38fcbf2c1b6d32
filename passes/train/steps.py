"""Activations in steps, written out --> kernels of fake quantization.

    min(max(round(c / s), l), h) s,  c = clip(x)     -->     step(x, s, 1 / s, l, h)

``passes.hub.steps`` writes the formula, in which any pass before this one may see ordinary operators.
"""

from __future__ import annotations

import math

import numpy as np
from tvm import IRModule, relax

from ..hub.graph import bindings_of, consumers_of, dtype_of, op_name, rebuild
from .kernels.steps import step

_FORMULA = ("relax.multiply", "relax.minimum", "relax.maximum", "relax.round", "relax.divide")


def fold_steps(mod: IRModule, drops: tuple[relax.Var, ...] = ()) -> IRModule:
    """Return the module with each formula, and a clip that it alone reads, as one call.

    ``drops`` are the parameters of ``kernels.steps.DROPS``, where values are dropped; those of 8 bits never are.
    """
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    readers = consumers_of(mod)

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        found = _formula(var, values)
        if found is None:
            return value
        data, scale, low, high = found
        bounds = -math.inf, math.inf
        if isinstance(data, relax.Var) and len(readers[data]) == 1:
            clip = values.get(data)
            if op_name(clip) == "relax.nn.relu":
                data, bounds = clip.args[0], (0.0, math.inf)
            elif op_name(clip) == "relax.clip":
                data, bounds = clip.args[0], tuple(float(limit.value) for limit in clip.args[1:])
        new = builder_of(data), *map(builder_of, (scale, low, high))
        data, scale, low, high = new
        inverse = builder.emit(relax.op.divide(relax.const(np.float32(1.0)), scale))
        return step(builder, data, [scale, inverse, low, high, *drops], bounds)

    env: dict[relax.Var, relax.Expr] = {}

    def builder_of(expr: relax.Expr) -> relax.Expr:
        return env.get(expr, expr) if isinstance(expr, relax.Var) else expr

    def noting(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        new = rewrite(builder, var, value)
        new = (
            new
            if isinstance(new, relax.Var) or not isinstance(new, relax.Call | relax.TupleGetItem)
            else builder.emit(new)
        )
        env[var] = new
        return new

    return relax.transform.DeadCodeElimination()(rebuild(mod, noting))


def _formula(var: relax.Var, values: dict[relax.Var, relax.Expr]) -> tuple[relax.Expr, ...] | None:
    """Return x, s, l and h of the formula that ends in a variable; None where it is another."""
    operands, at = [], var
    for name in _FORMULA:
        call = values.get(at) if isinstance(at, relax.Var) else None
        if op_name(call) != name:
            return None
        at, *others = call.args
        operands.extend(others)
    scale, high, low, divisor = operands[0], operands[1], operands[2], operands[-1]
    scalars = (scale, low, high)
    if not divisor.same_as(scale) or not all(
        dtype_of(item) == "float32" and not list(item.ty.shape) for item in scalars
    ):
        return None
    return at, *scalars
