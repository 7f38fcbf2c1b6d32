"""relu and clip behind an operator: limits of its result.

relu(x) = max(x, 0)        clip(x, a, b) = min(max(x, a), b)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvm import relax

from ..graph import layer_name, op_name
from .quantized import Facts

_FIXED = {"relax.nn.relu": (0.0, math.inf), "relax.nn.relu6": (0.0, 6.0)}


@dataclass(frozen=True)
class Limited:
    """A value without the limits that were behind it."""

    value: relax.Expr
    lower: float = -math.inf
    upper: float = math.inf
    names: tuple[str, ...] = ()


def limits_of(call: relax.Expr) -> tuple[float, float] | None:
    """Return what the operator limits its input to; None where it does anything else."""
    name = op_name(call)
    if name in _FIXED:
        return _FIXED[name]
    if name == "relax.clip":
        lower, upper = call.args[1:]
        return _number(lower), _number(upper)
    return None


def _number(bound: relax.Expr) -> float:
    return float(getattr(bound, "value", bound))


def strip_limits(facts: Facts, value: relax.Expr) -> Limited:
    """Return the value before the relu and clip operators that end in it, and their joint limits."""
    lower, upper = -math.inf, math.inf
    names: list[str] = []
    while True:
        call = facts.definition(value)
        limits = limits_of(call)
        if limits is None:
            return Limited(value, lower, upper, tuple(names))
        # The outer operator came first here; it limits what the inner one left.
        inner_lower, inner_upper = limits
        lower, upper = max(lower, min(inner_lower, upper)), min(upper, max(inner_upper, lower))
        names.append(layer_name(call))
        value = call.args[0]
