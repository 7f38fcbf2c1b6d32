"""Concatenation of quantized tensors.

    Q(concat(DQ(a), DQ(b)))  -->  concat(requantize(a), requantize(b))

Inputs that have the result's scale and zero point already are taken as they are.
"""

from __future__ import annotations

import numpy as np
from tvm import relax

from ...hub import arithmetic
from ...hub.graph import layer_name, op_name
from ..compute import elementwise
from .limits import strip_limits
from .quantized import Emitter, Facts, Parameters, Plan


def plan_concat(facts: Facts, value: relax.Expr, target: Parameters | None) -> Plan | None:
    """Plan a concatenation of quantized tensors; limits behind it become part of the inputs' tables."""
    limited = strip_limits(facts, value)
    call = facts.definition(limited.value)
    if op_name(call) != "relax.concat" or target is None or not isinstance(call.args[0], relax.Tuple):
        return None
    fields = tuple(call.args[0].fields)
    parameters = [facts.parameters(field) for field in fields]
    if None in parameters:
        return None
    layer = layer_name(call)
    tables = [_table(own, target, limited.lower, limited.upper) for own in parameters]

    def build(emitter: Emitter) -> relax.Var:
        parts = []
        for field, table in zip(fields, tables, strict=True):
            integers = emitter.integers(field)
            if table is not None:
                integers = emitter.call(
                    elementwise.look_up, integers, relax.const(table), name="qtable", layer=layer
                )
            parts.append(integers)
        return emitter.emit(relax.op.concat(parts, call.attrs.axis), layer)

    return Plan(layer, fields, build, limited.names)


def _table(own: Parameters, target: Parameters, lower: float, upper: float) -> np.ndarray | None:
    """Return what each integer of ``own`` becomes in ``target``; None where that is itself."""
    low, high = arithmetic.bounds_of(own.dtype)
    entries = np.arange(low, high + 1)
    numbers = np.clip(arithmetic.dequantize(entries, own.scale, own.zero_point), lower, upper)
    table = arithmetic.quantize(numbers, target.scale, target.zero_point, target.dtype)
    return None if np.array_equal(table, entries) else table
