"""Normalizations of rows written out --> the operator that they are.

    c = x - mean(x);   c / sqrt(mean(c * c) + epsilon)   -->  layer_norm(x, 1, 0)
    x / sqrt(mean(x * x) + epsilon)                      -->  rms_norm(x, 1)
    layer_norm(x, gamma, beta) * g + b                   -->  layer_norm(x, gamma * g, beta * g + b)

The mean is that of the last axis. A quotient may be a product with a reciprocal as well. Weights that are computed stay
behind the operator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import dtype_of, is_constant, op_name, shape_of, to_numpy
from .rewriting import Scope, apply_rule

NORMS = ("relax.nn.layer_norm", "relax.nn.rms_norm")


@tvm.transform.module_pass(opt_level=0, name="tvmq.SpelledNorms")
@dataclass(frozen=True)
class SpelledNorms:
    """Find normalizations of float32 that are written out, and give each its weights."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with each such normalization as one operator."""
        return apply_rule(mod, _replace)


def _replace(scope: Scope, value: relax.Expr) -> relax.Expr | None:
    if not isinstance(value, relax.Call) or op_name(value) not in RULES or dtype_of(value) != "float32":
        return None
    for rule in RULES[op_name(value)]:
        replaced = rule(scope, value)
        if replaced is not None:
            return replaced
    return None


def _normalized(scope: Scope, value: relax.Call) -> relax.Call | None:
    """Return the operator that a quotient, or a product with a reciprocal, is."""
    for data, epsilon in _over_deviation(scope, value):
        length = shape_of(data)[-1]
        one, zero = relax.const(np.ones(length, "float32")), relax.const(np.zeros(length, "float32"))
        centred = scope.defined_by(data, "relax.subtract")
        if centred is not None and _is_mean(scope, centred.args[1], centred.args[0]):
            return relax.op.nn.layer_norm(centred.args[0], one, zero, [-1], epsilon)
        return relax.op.nn.rms_norm(data, one, [-1], epsilon)
    return None


def _over_deviation(scope: Scope, value: relax.Call) -> list[tuple[relax.Expr, float]]:
    """Return what is divided by the root of its own mean square, and what that has been made larger by."""
    if op_name(value) == "relax.divide":
        pairs = [(value.args[0], value.args[1])]
    else:
        left, right = value.args
        pairs = [
            (data, root)
            for data, other in ((left, right), (right, left))
            if (root := _reciprocal(scope, other)) is not None
        ]
    found = [(data, _epsilon(scope, root, data)) for data, root in pairs]
    return [(data, epsilon) for data, epsilon in found if epsilon is not None]


def _reciprocal(scope: Scope, expr: relax.Expr) -> relax.Expr | None:
    """Return what the expression is 1 divided by."""
    quotient = scope.defined_by(expr, "relax.divide")
    return quotient.args[1] if quotient is not None and _number(quotient.args[0]) == 1.0 else None


def _epsilon(scope: Scope, root: relax.Expr, data: relax.Expr) -> float | None:
    """Return e where ``root`` is ``sqrt(mean(data * data) + e)`` of the last axis; None where it is none."""
    call = scope.defined_by(root, "relax.sqrt")
    total = None if call is None else scope.defined_by(call.args[0], "relax.add")
    if total is None:
        return None
    for mean, other in (total.args, reversed(total.args)):
        epsilon, reduced = _number(other), scope.defined_by(mean, "relax.mean")
        if epsilon is None or reduced is None:
            continue
        square = scope.defined_by(reduced.args[0], "relax.multiply", "relax.square")
        if square is not None and all(_same(scope, factor, data) for factor in square.args):
            return epsilon if _is_mean(scope, mean, reduced.args[0]) else None
    return None


def _same(scope: Scope, one: relax.Expr, other: relax.Expr) -> bool:
    """Tell whether two expressions are one value, or a difference that is computed twice."""
    if isinstance(one, relax.Var) and one.same_as(other):
        return True
    left, right = (scope.defined_by(expr, "relax.subtract") for expr in (one, other))
    if left is None or right is None or not left.args[0].same_as(right.args[0]):
        return False
    data = left.args[0]
    return all(_is_mean(scope, call.args[1], data) for call in (left, right))


def _is_mean(scope: Scope, expr: relax.Expr, data: relax.Expr) -> bool:
    """Tell whether ``expr`` is the mean of the last axis of ``data``, which it keeps."""
    mean = scope.defined_by(expr, "relax.mean")
    if mean is None or not mean.args[0].same_as(data) or mean.attrs.axis is None or not mean.attrs.keepdims:
        return False
    last = len(shape_of(data)) - 1
    return last > 0 and [int(axis) % (last + 1) for axis in mean.attrs.axis] == [last]


def _number(expr: relax.Expr) -> float | None:
    return float(to_numpy(expr).item()) if is_constant(expr) and to_numpy(expr).size == 1 else None


def _weighted(scope: Scope, value: relax.Call) -> relax.Call | None:
    """Return the normalization with the constant that it is multiplied by among its weights."""
    found = _norm_and_constant(scope, value)
    if found is None:
        return None
    norm, factor = found
    return _with_weights(norm, [to_numpy(weight) * factor for weight in norm.args[1:]])


def _shifted(scope: Scope, value: relax.Call) -> relax.Call | None:
    """Return the normalization with the constant that is added to it among its weights; RMS norms have no place."""
    found = _norm_and_constant(scope, value)
    if found is None or op_name(found[0]) != "relax.nn.layer_norm":
        return None
    norm, shift = found
    gamma, beta = (to_numpy(weight) for weight in norm.args[1:])
    return _with_weights(norm, [gamma, beta + shift])


def _norm_and_constant(scope: Scope, value: relax.Call) -> tuple[relax.Call, np.ndarray] | None:
    """Return the two operands where one is a normalization of constant weights and the other constant in each row."""
    for data, other in (value.args, reversed(value.args)):
        norm = scope.defined_by(data, *NORMS)
        if norm is None or not scope.used_once(data) or not is_constant(other):
            continue
        shape, numbers = shape_of(norm.args[1]), to_numpy(other)
        behind = numbers.shape[max(0, numbers.ndim - len(shape)) :]
        in_front = numbers.shape[: numbers.ndim - len(behind)]
        is_small = numbers.ndim <= len(shape_of(norm)) and all(extent == 1 for extent in in_front)
        if is_small and all(map(is_constant, norm.args[1:])) and _broadcasts(behind, shape):
            return norm, numbers.reshape(behind)
    return None


def _broadcasts(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    pairs = zip(reversed(shape), reversed(whole), strict=False)
    return all(extent in (1, other) for extent, other in pairs)


def _with_weights(norm: relax.Call, weights: list[np.ndarray]) -> relax.Call:
    constants = [relax.const(values.astype("float32")) for values in weights]
    return relax.Call(norm.op, [norm.args[0], *constants], norm.attrs)


RULES = {
    "relax.add": (_shifted,),
    "relax.divide": (_normalized,),
    "relax.multiply": (_normalized, _weighted),
}
"""By the last operator, what is tried; the first that applies."""
