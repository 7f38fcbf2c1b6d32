"""relu and clip behind an operator: limits of its result."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvm import relax

from ...hub.graph import layer_name
from ...hub.limits import limits_of
from .quantized import Facts


@dataclass(frozen=True)
class Limited:
    """A value without the limits that were behind it."""

    value: relax.Expr
    lower: float = -math.inf
    upper: float = math.inf
    names: tuple[str, ...] = ()


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
