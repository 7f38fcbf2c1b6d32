"""Activations in steps, written out --> kernels of fake quantization.

    min(max(round(c / s), l), h) s,  c = clip(x)     -->     step(x, s, 1 / s, l, h)

``passes.hub.steps`` writes the formula, in which any pass before this one may see ordinary operators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from tvm import IRModule, relax

from ..hub.graph import bindings_of, consumers_of, dtype_of, is_constant, number, op_name, rebuild, to_numpy
from .kernels.steps import STRAIGHT, Slopes, step

_FORMULA = ("relax.multiply", "relax.minimum", "relax.maximum", "relax.round", "relax.divide")


def fold_steps(mod: IRModule, drops: tuple[relax.Var, ...] = (), slopes: Slopes = STRAIGHT) -> IRModule:
    """Return the module with each formula, and a clip that it alone reads, as one call.

    ``drops`` are the parameters of ``kernels.steps.DROPS``, where values are dropped: those of fewer than 8 bits, whose
    steps are computed (``student``). ``slopes`` are as for ``step``, ``sign`` for those of two values alone.
    """
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    readers = consumers_of(mod)
    new: dict[relax.Var, relax.Expr] = {}

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        found = _formula(var, values)
        if found is not None:
            data, *scalars = found
            data, bounds = _unclipped(data, values, readers)
            scale, low, high = (new.get(scalar, scalar) for scalar in scalars)
            inverse = builder.emit(relax.op.divide(number(1.0), scale))
            dropped = drops if op_name(values.get(scalars[0])) == "relax.divide" else ()
            own = slopes if _has_two_values(low, high) else replace(slopes, sign=None)
            value = step(builder, new.get(data, data), [scale, inverse, low, high, *dropped], bounds, own)
        if isinstance(value, relax.Call | relax.TupleGetItem):
            value = builder.emit(value)
        new[var] = value
        return value

    return relax.transform.DeadCodeElimination()(rebuild(mod, rewrite))


def _unclipped(
    data: relax.Expr, values: Mapping[relax.Var, relax.Expr], readers: Mapping[relax.Var, list[relax.Expr]]
) -> tuple[relax.Expr, tuple[float, float]]:
    """Return what a clip that nothing else reads takes, and its limits; the data themselves where there is none."""
    clip = values.get(data) if len(readers.get(data, ())) == 1 else None
    if op_name(clip) == "relax.nn.relu":
        return clip.args[0], (0.0, math.inf)
    if op_name(clip) == "relax.clip":
        low, high = (float(limit.value) for limit in clip.args[1:])
        return clip.args[0], (low, high)
    return data, (-math.inf, math.inf)


def _has_two_values(low: relax.Expr, high: relax.Expr) -> bool:
    """Tell whether the limits are 0 and 1, as ``binary`` writes them."""
    if not (is_constant(low) and is_constant(high)):
        return False
    return (float(to_numpy(low)), float(to_numpy(high))) == (0.0, 1.0)


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
