"""Attention recognised in its parts: one kernel instead of two products, a softmax and the transposes around them.

    matmul(softmax(steps(matmul(q, k))), v)  -->  attention(q, k, v)

It looks at the last thing before operators become loops, so that quantization has had its say on each part. A query,
key or value that was transposed on its way is read where it came from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from tvm import IRModule, relax

from ..passes.hub.graph import (
    constant,
    dtype_of,
    is_constant,
    layer_name,
    op_name,
    shape_of,
    to_numpy,
)
from ..passes.hub.op_patterns import OPAQUE
from ..passes.prepare.rewriting import Scope, apply_rule
from ..passes.realize.compute.attention import (
    HEADS_FIRST,
    SEQUENCES_FIRST,
    Attention,
    Rounding,
    Step,
    attention,
)
from ..targets.row import ConvertBy
from .float_kernels import rounding_of

MAX_STEPS = 8
"""Of a score before its softmax; more are none of any attention."""

SWAPPED = [0, 2, 1, 3]


def fuse_attention(mod: IRModule, by: ConvertBy) -> IRModule:
    """Return the module in which each attention in float32 is one call.

    Parameters
    ----------
    by : how the target's floats become integers.
    """
    return apply_rule(mod, _Fuser(by))


@dataclass(frozen=True)
class Operand:
    """A query, key or value: the tensor ``[B, .., .., D]`` to read, and the order of its axes."""

    tensor: relax.Expr
    order: str


@dataclass(frozen=True)
class _Call:
    """What an attention was made of."""

    form: Attention
    args: tuple[relax.Expr, ...]
    name: str


class _Fuser:
    """The rule; it remembers its calls: a transposition or a rounding behind one is another form of its result."""

    def __init__(self, by: ConvertBy) -> None:
        self._by = by
        self._made: list[tuple[relax.Call, _Call]] = []

    def __call__(self, scope: Scope, value: relax.Expr) -> relax.Expr | None:
        if op_name(value) == "relax.permute_dims":
            return self._transposed(scope, value)
        if op_name(value) == "relax.quantize":
            return self._rounded(scope, value)
        found = _match(scope, value)
        if found is None:
            return None
        return self._emit(scope, found, shape_of(value))

    def _transposed(self, scope: Scope, value: relax.Call) -> relax.Expr | None:
        """Return the attention with the order of its result changed, where nothing else reads it."""
        if [int(axis) for axis in value.attrs.axes or ()] != SWAPPED:
            return None
        made = self._source_of(scope, value)
        if made is None or made.form.orders[3] != HEADS_FIRST:
            return None
        form = replace(made.form, orders=(*made.form.orders[:3], SEQUENCES_FIRST))
        return self._emit(scope, replace(made, form=form), shape_of(value))

    def _rounded(self, scope: Scope, value: relax.Call) -> relax.Expr | None:
        """Return the attention with an integer result, where nothing else reads it."""
        made, rounding = self._source_of(scope, value), rounding_of(value)
        if made is None or made.form.rounding is not None or rounding is None:
            return None
        form = replace(made.form, rounding=Rounding(*rounding))
        return self._emit(scope, replace(made, form=form), shape_of(value))

    def _source_of(self, scope: Scope, value: relax.Call) -> _Call | None:
        """Return the attention that the operator reads, where it is the only one."""
        if not scope.used_once(value.args[0]):
            return None
        source = scope.definition(value.args[0])
        return next((call for bound, call in self._made if bound.same_as(source)), None)

    def _emit(self, scope: Scope, made: _Call, shape: tuple[int, ...]) -> relax.Expr:
        call = scope.call_te(
            partial(attention, form=made.form, by=self._by),
            *made.args,
            name="attention",
            pattern=OPAQUE,
            layer=made.name,
        )
        if shape_of(call) != shape:
            return relax.op.reshape(scope.emit(call, made.name), shape)
        self._made.append((call, made))
        return call


def _match(scope: Scope, value: relax.Expr) -> _Call | None:
    """Return the attention whose last operator is ``value``; None where it is none."""
    if not _is_product(value):
        return None
    softmax = scope.defined_by(value.args[0], "relax.nn.softmax")
    if softmax is None or not scope.used_once(value.args[0]):
        return None
    shape = shape_of(softmax)
    if int(softmax.attrs.axis) % len(shape) != len(shape) - 1:
        return None
    scores = _scores(scope, softmax.args[0], shape)
    if scores is None:
        return None
    product, steps, operands = scores
    query, key = product.args
    if not (shape_of(query)[:-2] == shape_of(key)[:-2] == shape_of(value.args[1])[:-2]):
        return None
    found = (
        _operand(scope, query),
        _operand(scope, key, is_transposed=True),
        _operand(scope, value.args[1]),
    )
    orders = found[0].order, found[1].order, found[2].order, HEADS_FIRST
    return _Call(
        Attention(orders, tuple(steps)), (*(each.tensor for each in found), *operands), layer_name(value)
    )


def _is_product(value: relax.Expr) -> bool:
    """Tell whether the value is the product of two activations in float32 with the same leading axes, none empty."""
    if op_name(value) != "relax.matmul" or any(is_constant(argument) for argument in value.args):
        return False
    shapes = [shape_of(argument) for argument in value.args]
    return (
        all(dtype_of(argument) == "float32" for argument in value.args)
        and min(map(len, shapes)) >= 2
        and all(0 not in shape for shape in shapes)
    )


# Scores.


def _scores(
    scope: Scope, value: relax.Expr, shape: tuple[int, ...]
) -> tuple[relax.Call, list[Step], list[relax.Expr]] | None:
    """Return the product of queries and keys, the steps behind it, and what those read; None where it is none."""
    steps: list[Step] = []
    operands: list[relax.Expr] = []
    for _ in range(MAX_STEPS):
        if not scope.used_once(value):
            return None
        call = scope.definition(value)
        if _is_product(call):
            return (call, steps[::-1], operands) if shape_of(call) == shape else None
        found = _step(scope, call, shape)
        if found is None:
            return None
        step, value, operand = found
        if operand is not None:
            step = replace(step, operand=len(operands))
            operands.append(operand)
        if step.kind != "none":
            steps.append(step)
    return None


def _step(
    scope: Scope, call: relax.Expr, shape: tuple[int, ...]
) -> tuple[Step, relax.Expr, relax.Expr | None] | None:
    """Return what an operator does to scores, which they are, and what else it reads."""
    kind = op_name(call)
    if kind in ("relax.multiply", "relax.divide"):
        data, factor = call.args
        if kind == "relax.multiply" and is_constant(data):
            data, factor = factor, data
        if not is_constant(factor) or to_numpy(factor).size != 1 or shape_of(data) != shape_of(call):
            return None
        number = np.float32(to_numpy(factor).item())
        if kind == "relax.divide":
            # The inverse of a power of two is exact; others are off by half a unit in the last place.
            number = np.float32(1) / number
        return (Step("scale", float(number)), data, None) if np.isfinite(number) else None
    if kind == "relax.add":
        for data, other in (call.args, reversed(call.args)):
            if _leads_to_scores(scope, data, shape):
                operand = _broadcast(scope, other, shape_of(call), shape, layer_name(call))
                return None if operand is None else (Step("add"), data, operand)
        return None
    if kind == "relax.where":
        condition, *branches = call.args
        for place, data in enumerate(branches):
            other = branches[1 - place]
            if is_constant(other) and to_numpy(other).size == 1 and _leads_to_scores(scope, data, shape):
                operand = _broadcast(scope, condition, shape_of(call), shape, layer_name(call))
                step = Step("replace" if place else "keep", float(to_numpy(other).item()))
                return None if operand is None else (step, data, operand)
        return None
    if kind == "relax.reshape" and _keeps_rows(shape_of(call.args[0]), shape_of(call)):
        return Step("none"), call.args[0], None
    return None


def _keeps_rows(before: Sequence[int], after: Sequence[int]) -> bool:
    return min(len(before), len(after)) >= 2 and tuple(before[-2:]) == tuple(after[-2:])


def _leads_to_scores(scope: Scope, value: relax.Expr, shape: tuple[int, ...]) -> bool:
    """Tell whether a value has the scores' size and comes from a product, by whatever steps."""
    if is_constant(value) or math.prod(shape_of(value)) != math.prod(shape):
        return False
    for _ in range(MAX_STEPS):
        call = scope.definition(value)
        if op_name(call) == "relax.matmul":
            return True
        if not isinstance(call, relax.Call) or not call.args:
            return False
        # Of a sum, the side that varies and is as large.
        sides = [side for side in call.args if _size(side) == math.prod(shape) and not is_constant(side)]
        if len(sides) != 1:
            return False
        value = sides[0]
    return False


def _size(value: relax.Expr) -> int:
    return math.prod(shape_of(value)) if isinstance(value.ty, relax.TensorType) else 0


def _broadcast(
    scope: Scope, operand: relax.Expr, shape: tuple[int, ...], scores: tuple[int, ...], name: str
) -> relax.Expr | None:
    """Return what is broadcast to ``shape`` as float32 of four axes that broadcast to the scores'; None if not so."""
    own = (1,) * (len(shape) - len(shape_of(operand))) + shape_of(operand)
    if len(own) != len(shape):
        return None
    lead = _lead_of(scores)
    if shape != scores:
        # The steps were taken in another shape of the leading axes.
        if own[:-2] == (1,) * len(own[:-2]):
            own = (1, 1, *own[-2:])
        else:
            operand = scope.emit(relax.op.broadcast_to(operand, (*shape[:-2], *own[-2:])), name)
            own = (*lead, *own[-2:])
    elif len(own) > 4:
        flat = math.prod(own[1:-2])
        if flat not in (1, math.prod(shape[1:-2])):
            operand = scope.emit(relax.op.broadcast_to(operand, (*shape[:-2], *own[-2:])), name)
            own = (*lead, *own[-2:])
        else:
            own = (own[0], flat, *own[-2:])
    else:
        own = (1,) * (4 - len(own)) + own
    if dtype_of(operand) != "float32":
        operand = scope.emit(relax.op.astype(operand, "float32"), name)
    if is_constant(operand):
        return constant(to_numpy(operand).reshape(own))
    return scope.emit(relax.op.reshape(operand, own), name) if shape_of(operand) != own else operand


def _lead_of(shape: Sequence[int]) -> tuple[int, int]:
    """Return batch and heads of a tensor ``[.., rows, columns]``: of three axes the first are heads."""
    lead = [1, 1, *shape[:-2]] if len(shape) < 4 else list(shape[:-2])
    return (lead[-2], lead[-1]) if len(shape) <= 4 else (lead[0], math.prod(lead[1:]))


# Queries, keys and values.


def _operand(scope: Scope, value: relax.Expr, is_transposed: bool = False) -> Operand:
    """Return what to read for a matrix operand ``[.., rows, depth]``, or ``[.., depth, rows]``."""
    rank = len(shape_of(value))
    axes = list(range(rank))  # axis i of the operand is axis axes[i] of ``source``
    source = value
    while (call := scope.defined_by(source, "relax.permute_dims")) is not None:
        order = [int(axis) for axis in call.attrs.axes] if call.attrs.axes else list(range(rank))[::-1]
        axes = [order[axis] for axis in axes]
        source = call.args[0]
    if is_transposed:
        axes[-2:] = axes[:-3:-1]
    shape = shape_of(source)
    if axes == list(range(rank)):
        lead = _lead_of(shape)
        return Operand(_reshaped(scope, source, (*lead, *shape[-2:])), HEADS_FIRST)
    if rank == 4 and axes == SWAPPED:
        return Operand(source, SEQUENCES_FIRST)
    if rank == 3 and axes == [1, 0, 2]:
        return Operand(_reshaped(scope, source, (1, *shape)), SEQUENCES_FIRST)
    plain = scope.emit(relax.op.permute_dims(source, axes), layer_name(scope.definition(value)))
    shape = shape_of(plain)
    return Operand(_reshaped(scope, plain, (*_lead_of(shape), *shape[-2:])), HEADS_FIRST)


def _reshaped(scope: Scope, value: relax.Expr, shape: tuple[int, ...]) -> relax.Expr:
    if shape_of(value) == shape:
        return value
    return scope.emit(relax.op.reshape(value, shape), layer_name(scope.definition(value)))
