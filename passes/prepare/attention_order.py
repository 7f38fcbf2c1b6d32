"""What belongs to attention, in the one order in which its kernel is found.

    (a * s) @ transpose(b * t)                      -->  (a @ transpose(b)) * (s t)
    where(row is hidden, 0, softmax(scores)) @ v    -->  where(row is hidden, 0, softmax(scores) @ v)

ONNX's Attention, and torch's exporters, scale queries and keys by a root each before their product, and give zeros for
a query that sees no key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import dtype_of, is_constant, layer_name, op_name, shape_of, to_numpy
from .rewriting import Scope, apply_rule

MOVES = ("relax.permute_dims", "relax.reshape")
"""What may stand between a scale and the product."""

WEIGHTED = ("relax.add", "relax.matmul")
"""A scale right behind these goes into their weights."""


@tvm.transform.module_pass(opt_level=0, name="tvmq.AttentionOrder")
@dataclass(frozen=True)
class AttentionOrder:
    """Move scales and choices of rows behind products of two activations in float32."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with products first."""
        return apply_rule(mod, _move)


def _move(scope: Scope, value: relax.Expr) -> relax.Expr | None:
    if op_name(value) != "relax.matmul" or dtype_of(value) != "float32":
        return None
    if any(is_constant(argument) or len(shape_of(argument)) < 2 for argument in value.args):
        return None
    chosen = _chosen(scope, value)
    return _scaled(scope, value) if chosen is None else chosen


def _chosen(scope: Scope, value: relax.Call) -> relax.Expr | None:
    """Move a choice between a softmax and zeros behind the product, where it is one of whole rows."""
    data, other = value.args
    choice = scope.defined_by(data, "relax.where")
    if choice is None or not scope.used_once(data):
        return None
    condition, zero, shares = choice.args
    of_rows = bool(shape_of(condition)) and shape_of(condition)[-1] == 1
    is_zero = is_constant(zero) and not to_numpy(zero).any() and to_numpy(zero).size == 1
    if not of_rows or not is_zero or scope.defined_by(shares, "relax.nn.softmax") is None:
        return None
    if shape_of(shares) != shape_of(choice):
        return None
    product = scope.emit(relax.op.matmul(shares, other), layer_name(value))
    return relax.op.where(condition, zero, product)


def _scaled(scope: Scope, value: relax.Call) -> relax.Expr | None:
    """Move the scales of both operands behind the product."""
    found = [_unscaled(scope, argument) for argument in value.args]
    if found == [None, None]:
        return None
    factor, operands = 1.0, []
    for argument, unscaled in zip(value.args, found, strict=True):
        operand, own = unscaled or (argument, 1.0)
        factor *= own
        operands.append(operand)
    product = scope.emit(relax.op.matmul(*operands), layer_name(value))
    return relax.op.multiply(product, relax.const(np.float32(factor)))


def _unscaled(scope: Scope, operand: relax.Expr) -> tuple[relax.Expr, float] | None:
    """Return an operand without its scale, and that; None where it has none that ought to move."""
    moves: list[relax.Call] = []
    while scope.used_once(operand) and (move := scope.defined_by(operand, *MOVES)) is not None:
        moves.append(move)
        operand = move.args[0]
    scaled = scope.defined_by(operand, "relax.multiply", "relax.divide")
    if scaled is None or not scope.used_once(operand):
        return None
    data, factor = _data_and_factor(scaled)
    if data is None or scope.defined_by(data, *WEIGHTED) is not None:
        return None
    return _moved(scope, data, moves), factor


def _data_and_factor(call: relax.Call) -> tuple[relax.Expr | None, float]:
    """Return what the call multiplies by a number, and the number."""
    left, right = call.args
    if op_name(call) == "relax.multiply" and is_constant(left):
        left, right = right, left
    numbers = to_numpy(right) if is_constant(right) else np.zeros(0)
    if is_constant(left) or numbers.size != 1 or not numbers.all() or shape_of(left) != shape_of(call):
        return None, 1.0
    number = float(numbers.item())
    return left, 1.0 / number if op_name(call) == "relax.divide" else number


def _moved(scope: Scope, data: relax.Expr, moves: Sequence[relax.Call]) -> relax.Expr:
    for move in reversed(moves):
        again = relax.Call(move.op, [data, *move.args[1:]], move.attrs)
        data = scope.emit(again, layer_name(move))
    return data
