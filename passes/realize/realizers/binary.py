"""Sums and products of two quantized tensors.

Q(limit(DQ(a) +- DQ(b)))   -->  add[fixed point](a, b)
Q(limit(DQ(a) * DQ(b)))    -->  multiply[requantize](a, b)
"""

from __future__ import annotations

from functools import partial

import numpy as np
from tvm import relax

from ...hub import arithmetic
from ...hub.graph import layer_name, op_name
from ..compute import elementwise
from ..compute.epilogue import Conversion
from .limits import strip_limits
from .quantized import Emitter, Facts, Parameters, Plan

_SIGNS = {"relax.add": 1.0, "relax.subtract": -1.0}


def plan_sum(facts: Facts, value: relax.Expr, target: Parameters | None) -> Plan | None:
    """Plan the sum or difference of two quantized tensors."""
    limited = strip_limits(facts, value)
    call = facts.definition(limited.value)
    sign = _SIGNS.get(op_name(call))
    if sign is None or target is None:
        return None
    operands = [facts.parameters(argument) for argument in call.args]
    if None in operands:
        return None
    left, right = operands
    try:
        ratios, shift = arithmetic.fixed_point([left.scale / target.scale, sign * right.scale / target.scale])
    except ValueError as error:
        facts.refuse(call, str(error))
        return None
    addends = tuple(
        arithmetic.Addend(operand.zero_point, ratio) for operand, ratio in zip(operands, ratios, strict=True)
    )
    define = partial(
        elementwise.add, addends=addends, shift=shift, out=target.output(limited.lower, limited.upper)
    )
    return _plan(call, limited.names, define, "qadd")


def plan_product(facts: Facts, value: relax.Expr, target: Parameters | None) -> Plan | None:
    """Plan the product of two quantized tensors."""
    limited = strip_limits(facts, value)
    call = facts.definition(limited.value)
    if op_name(call) != "relax.multiply" or target is None:
        return None
    operands = [facts.parameters(argument) for argument in call.args]
    if None in operands:
        return None
    left, right = operands
    multiplier = float(np.float32(left.scale * right.scale / target.scale))
    define = partial(
        elementwise.multiply,
        zero_points=(left.zero_point, right.zero_point),
        multiplier=multiplier,
        out=target.output(limited.lower, limited.upper),
        conversion=Conversion(facts.row.converts_by, 255 * 255, 255 * 255 * multiplier),
    )
    return _plan(call, limited.names, define, "qmultiply")


def _plan(call: relax.Call, names: tuple[str, ...], define, name: str) -> Plan:
    layer = layer_name(call)

    def build(emitter: Emitter) -> relax.Var:
        return emitter.call(define, *map(emitter.integers, call.args), name=name, layer=layer)

    return Plan(layer, tuple(call.args), build, names)
