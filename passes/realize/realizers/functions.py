"""Functions of one quantized tensor, element by element: a table of 256 entries.

    Q(f(DQ(x)))  -->  look_up(x, [Q(f(DQ(v))) for v in 0..255])

``f`` may be any graph of elementwise operators and scalar constants with one quantized input, such as
``x * clip(x / 6 + 0.5, 0, 1)``; with no operator at all it changes scale and zero point. The entries are
computed in float64, and so are as good as any float32 evaluation of the Q/DQ graph.
"""

from __future__ import annotations

import numpy as np
from tvm import relax

from ...hub import arithmetic
from ...hub.elementwise import apply_operator, is_function
from ...hub.graph import layer_name
from ...hub.limits import limits_of
from ..compute import elementwise
from .quantized import Emitter, Facts, Parameters, Plan
from .weights import constant_value

MAX_OPERATORS = 32
"""Operators in one function; a chain longer than any activation's means that the search went astray."""


def plan_function(facts: Facts, value: relax.Expr, target: Parameters | None) -> Plan | None:
    """Plan a table for a graph of elementwise functions with one quantized input."""
    if target is None:
        return None
    found = _source_of(facts, value)
    if found is None:
        return None
    source, calls = found
    data = facts.parameters(source)
    if not calls and data == target:
        return None
    low, high = arithmetic.bounds_of(data.dtype)
    entries = np.arange(low, high + 1)
    numbers = arithmetic.dequantize(entries, data.scale, data.zero_point).astype(np.float64)
    with np.errstate(all="ignore"):
        results = _evaluate(facts, value, source, numbers)
    results = np.broadcast_to(np.asarray(results, np.float64), numbers.shape)
    # log(0) and its like have no integer: they saturate, as any number out of range does.
    results = np.nan_to_num(results, nan=0.0).astype(np.float32)
    table = arithmetic.quantize(results, target.scale, target.zero_point, target.dtype)
    names = [layer_name(call) for call in calls]
    layer = next((name for name in names if name), "")

    def build(emitter: Emitter) -> relax.Var:
        integers = emitter.integers(source)
        return emitter.call(elementwise.look_up, integers, relax.const(table), name="qtable", layer=layer)

    return Plan(layer, (source,), build, tuple(names))


def _source_of(facts: Facts, value: relax.Expr) -> tuple[relax.Expr, list[relax.Call]] | None:
    """Return the one quantized value that ``value`` is a function of, and the calls between, outermost first."""
    sources: list[relax.Expr] = []
    calls: list[relax.Call] = []
    pending, seen = [value], set()
    while pending:
        expr = pending.pop()
        if expr in seen:
            continue
        seen.add(expr)
        if facts.parameters(expr) is not None:
            sources.append(expr)
            continue
        call = facts.definition(expr)
        if not is_function(call) or len(calls) >= MAX_OPERATORS:
            return None
        calls.append(call)
        for argument in call.args if limits_of(call) is None else call.args[:1]:
            constant = constant_value(facts, argument)
            if constant is None:
                pending.append(argument)
            elif constant.size != 1:
                return None
    return (sources[0], calls) if len(sources) == 1 else None


def _evaluate(facts: Facts, expr: relax.Expr, source: relax.Expr, numbers: np.ndarray) -> np.ndarray:
    if expr.same_as(source):
        return numbers
    constant = constant_value(facts, expr)
    if constant is not None:
        return constant.astype(np.float64).reshape(())
    call = facts.definition(expr)
    arguments = call.args if limits_of(call) is None else call.args[:1]
    return apply_operator(call, *(_evaluate(facts, argument, source, numbers) for argument in arguments))
