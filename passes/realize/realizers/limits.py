"""relu and clip behind an operator: limits of its result, and of the integers that stand for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvm import relax

from ...hub.arithmetic import bounds_of
from ...hub.graph import layer_name, op_name
from ...hub.limits import limits_of
from .moves import move_inputs
from .quantized import Facts, Parameters


@dataclass(frozen=True)
class Limited:
    """A value without the limits that were behind it."""

    value: relax.Expr
    lower: float = -math.inf
    upper: float = math.inf
    names: tuple[str, ...] = ()

    @property
    def is_limited(self) -> bool:
        return not math.isinf(self.lower) or not math.isinf(self.upper)


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


def integer_bounds(facts: Facts, value: relax.Expr) -> tuple[int, int]:
    """Return the least and the largest of the integers that stand for a quantized value and its padding.

    They are as near as can be told; 0 is between them.
    """
    parameters = facts.parameters(value)
    if parameters is None:
        raise ValueError("a value in float has no integers")
    low, high = _bounds(facts, value, parameters)
    return min(low, parameters.zero_point, 0), max(high, parameters.zero_point, 0)


def _bounds(facts: Facts, value: relax.Expr, parameters: Parameters) -> tuple[int, int]:
    call = facts.definition(value)
    if op_name(call) == "relax.dequantize":
        quantize = facts.definition(call.args[0])
        if op_name(quantize) == "relax.quantize":
            limited = strip_limits(facts, quantize.args[0])
            out = parameters.output(limited.lower, limited.upper)
            return out.lower, out.upper
    elif isinstance(call, relax.Call) and op_name(call) != "relax.nn.pad":
        sources = move_inputs(call)
        moved = [facts.parameters(source) for source in sources]
        if sources and all(source is not None for source in moved):
            lows, highs = zip(*(integer_bounds(facts, source) for source in sources), strict=True)
            return min(lows), max(highs)
    return bounds_of(parameters.dtype)
