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


def largest_integer(facts: Facts, value: relax.Expr) -> int:
    """Return the largest magnitude of the integers that stand for a quantized value, as far as it can be told."""
    parameters = facts.parameters(value)
    if parameters is None:
        raise ValueError("a value in float has no integers")
    call = facts.definition(value)
    if op_name(call) == "relax.dequantize":
        return _largest_quantized(facts, facts.definition(call.args[0]), parameters)
    if isinstance(call, relax.Call) and op_name(call) != "relax.nn.pad":
        moved = [facts.parameters(source) for source in move_inputs(call)]
        if all(source is not None for source in moved):
            return max(largest_integer(facts, source) for source in move_inputs(call))
    return _largest_of(parameters.dtype)


def _largest_quantized(facts: Facts, quantize: relax.Expr, parameters: Parameters) -> int:
    """Return the largest magnitude of what a ``quantize`` gives, in the dtype that it is stored in."""
    if op_name(quantize) != "relax.quantize":
        return _largest_of(parameters.dtype)
    limited = strip_limits(facts, quantize.args[0])
    out = parameters.output(limited.lower, limited.upper)
    return max(abs(out.lower), abs(out.upper))


def _largest_of(dtype: str) -> int:
    return max(abs(bound) for bound in bounds_of(dtype))
