"""From the scores of an attention to its softmax: the steps between, and what else they read.

softmax(where(seen, q @ k * scale + bias, -inf))   -->   scale, add, keep
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tvm import relax

from ..passes.hub.graph import constant, dtype_of, is_constant, layer_name, op_name, shape_of, to_numpy
from ..passes.prepare.rewriting import Scope
from ..passes.realize.compute.attention import Step

MAX_STEPS = 8
"""Of a score before its softmax; more are none of any attention."""


@dataclass(frozen=True)
class Change:
    """A step, with what it reads.

    Attributes
    ----------
    step : without the place of its operand.
    operand : a tensor that broadcasts to ``shape``; None where the step reads nothing else.
    shape : of the scores there: their own but for the leading axes, of which others may be made.
    name : the layer's.
    """

    step: Step
    operand: relax.Expr | None = None
    shape: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class Scores:
    """A product of queries and keys, and what is done to it."""

    product: relax.Call
    changes: tuple[Change, ...]


def is_product(value: relax.Expr) -> bool:
    """Tell whether the value is a product of two activations in float32, none empty."""
    if op_name(value) != "relax.matmul" or any(is_constant(argument) for argument in value.args):
        return False
    shapes = [shape_of(argument) for argument in value.args]
    return (
        all(dtype_of(argument) == "float32" for argument in value.args)
        and min(map(len, shapes)) >= 2
        and all(0 not in shape for shape in shapes)
    )


def keeps_rows(before: Sequence[int], after: Sequence[int]) -> bool:
    """Tell whether a reshape leaves the last two axes as they are."""
    return min(len(before), len(after)) >= 2 and tuple(before[-2:]) == tuple(after[-2:])


def scores_of(scope: Scope, value: relax.Expr) -> Scores | None:
    """Return how a value came from a product by steps that nothing else reads; None where it did not."""
    changes: list[Change] = []
    for _ in range(MAX_STEPS):
        if not scope.used_once(value):
            return None
        call = scope.definition(value)
        if is_product(call):
            return Scores(call, tuple(reversed(changes)))
        if op_name(call) == "relax.reshape" and keeps_rows(shape_of(call.args[0]), shape_of(call)):
            value = call.args[0]
            continue
        find = _STEPS.get(op_name(call))
        found = None if find is None else find(scope, call)
        if found is None:
            return None
        change, value = found
        changes.append(replace(change, shape=shape_of(call), name=layer_name(call)))
    return None


def copies(change: Change, batch: int) -> bool:
    """Tell whether an operand has to be repeated in memory for scores whose leading axes are cut so."""
    if change.operand is None or is_constant(change.operand):
        return False
    return _leading(change, batch)[0] != _padded(change)[:-2]


def read_operand(scope: Scope, change: Change, batch: int) -> relax.Expr:
    """Return an operand as float32 of four axes, 1 where it is the same along one of the scores'.

    Parameters
    ----------
    batch : into how many the leading axes are cut; the rest are heads.
    """
    lead, grouped = _leading(change, batch)
    rows = _padded(change)[-2:]
    if is_constant(change.operand):
        numbers = to_numpy(change.operand).reshape(_padded(change))
        return constant(np.broadcast_to(numbers, (*lead, *rows)).reshape(*grouped, *rows).astype("float32"))
    value = change.operand
    if dtype_of(value) != "float32":
        value = scope.emit(relax.op.astype(value, "float32"), change.name)
    if copies(change, batch):
        value = scope.emit(relax.op.broadcast_to(value, (*lead, *rows)), change.name)
    if shape_of(value) != (*grouped, *rows):
        value = scope.emit(relax.op.reshape(value, (*grouped, *rows)), change.name)
    return value


def _padded(change: Change) -> tuple[int, ...]:
    """Return the operand's shape with as many axes as the scores."""
    own = shape_of(change.operand)
    return (1,) * (len(change.shape) - len(own)) + own


def _leading(change: Change, batch: int) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Return to what the operand's leading axes are broadcast, and that as batch and heads."""
    own, whole = _padded(change)[:-2], change.shape[:-2]
    cut = next((place for place in range(len(whole) + 1) if math.prod(whole[:place]) == batch), None)
    if cut is None:
        cut = len(whole)
        if any(extent > 1 for extent in own):
            return whole, (batch, math.prod(whole) // batch)
    halves = [
        mine if all(extent == 1 for extent in mine) else full
        for mine, full in ((own[:cut], whole[:cut]), (own[cut:], whole[cut:]))
    ]
    return (*halves[0], *halves[1]), (math.prod(halves[0]), math.prod(halves[1]))


# Steps.


def _scaled(scope: Scope, call: relax.Call) -> tuple[Change, relax.Expr] | None:
    """``scores * factor``, ``scores / factor``: of one number, or of a tensor that is not as large as the scores."""
    is_quotient = op_name(call) == "relax.divide"
    data, factor = call.args
    if not is_quotient and not _leads_to_scores(scope, data, call):
        data, factor = factor, data
    if not _leads_to_scores(scope, data, call):
        return None
    if not is_constant(factor) or to_numpy(factor).size != 1:
        return None if is_quotient else (Change(Step("multiply"), factor), data)
    number = np.float32(to_numpy(factor).item())
    if is_quotient:
        # The inverse of a power of two is exact; others are off by half a unit in the last place.
        number = np.float32(1) / number
    return (Change(Step("scale", float(number))), data) if np.isfinite(number) else None


def _added(scope: Scope, call: relax.Call) -> tuple[Change, relax.Expr] | None:
    for data, other in (call.args, reversed(call.args)):
        if _leads_to_scores(scope, data, call):
            return Change(Step("add"), other), data
    return None


def _chosen(scope: Scope, call: relax.Call) -> tuple[Change, relax.Expr] | None:
    """``where(condition, scores, number)``, or the other way round."""
    condition, *branches = call.args
    for place, data in enumerate(branches):
        other = branches[1 - place]
        if is_constant(other) and to_numpy(other).size == 1 and _leads_to_scores(scope, data, call):
            number = float(to_numpy(other).item())
            return Change(Step("replace" if place else "keep", number), condition), data
    return None


_STEPS = {
    "relax.add": _added,
    "relax.divide": _scaled,
    "relax.multiply": _scaled,
    "relax.where": _chosen,
}


def _leads_to_scores(scope: Scope, value: relax.Expr, call: relax.Call) -> bool:
    """Tell whether an operand of the call has its shape and comes from a product by steps."""
    return (
        not is_constant(value)
        and shape_of(value) == shape_of(call)
        and _comes_from_product(scope, value, math.prod(shape_of(call)), MAX_STEPS)
    )


def _comes_from_product(scope: Scope, value: relax.Expr, size: int, steps: int) -> bool:
    made = scope.definition(value)
    if is_product(made):
        return True
    if not steps or op_name(made) not in {"relax.reshape", *_STEPS}:
        return False
    return any(
        isinstance(side, relax.Var)
        and math.prod(shape_of(side)) == size
        and _comes_from_product(scope, side, size, steps - 1)
        for side in made.args
    )
