"""Attention recognised in its parts: one kernel instead of two products, a softmax and the transposes around them.

    matmul(softmax(steps(matmul(q, k))), v)  -->  attention(q, k, v)

It looks at the last thing before operators become loops, so that quantization has had its say on each part. A query,
key or value that was transposed on its way is read where it came from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

from tvm import IRModule, relax

from ..passes.hub.graph import is_constant, layer_name, op_name, shape_of, to_numpy
from ..passes.hub.op_patterns import OPAQUE
from ..passes.hub.views import dense, merged, view_of
from ..passes.prepare.rewriting import Scope, apply_rule
from ..passes.realize.compute.attention import HEADS_FIRST, ORDERS, Attention, Rounding, Step, attention
from ..targets.row import ConvertBy
from .attention_operands import Matrices, Reading, cuts, read, reading
from .attention_scores import Scores, copies, is_product, keeps_rows, read_operand, scores_of
from .float_kernels import rounding_of


def fuse_attention(mod: IRModule, by: ConvertBy) -> IRModule:
    """Return the module in which each attention in float32 is one call.

    Parameters
    ----------
    by : how the target's floats become integers.
    """
    return apply_rule(mod, _Fuser(by))


@dataclass(frozen=True)
class _Call:
    """What an attention was made of."""

    form: Attention
    args: tuple[relax.Expr, ...]
    name: str


class _Fuser:
    """The rule; it remembers its calls: an order or a rounding behind one is another form of its result."""

    def __init__(self, by: ConvertBy) -> None:
        self._by = by
        self._made: list[tuple[relax.Var, _Call]] = []

    def __call__(self, scope: Scope, value: relax.Expr) -> relax.Expr | None:
        if op_name(value) == "relax.permute_dims":
            return self._ordered(scope, value)
        if op_name(value) == "relax.quantize":
            return self._rounded(scope, value)
        found = _match(scope, value)
        if found is None:
            return None
        return self._emit(scope, found, shape_of(value))

    def _ordered(self, scope: Scope, value: relax.Call) -> relax.Expr | None:
        """Return the attention with the order of its result changed, where nothing else reads it."""
        made = self._source_of(scope, value)
        if made is None or made.form.orders[3] != HEADS_FIRST:
            return None
        view = view_of(scope.definition, value)
        parts = merged([part for axis in view.axes for part in axis])
        axes = dict(zip(HEADS_FIRST, dense(shape_of(view.source)), strict=True))
        for order in ORDERS:
            if merged([part for name in order for part in axes[name]]) == parts:
                form = replace(made.form, orders=(*made.form.orders[:3], order))
                return self._emit(scope, replace(made, form=form), shape_of(value))
        return None

    def _rounded(self, scope: Scope, value: relax.Call) -> relax.Expr | None:
        """Return the attention with an integer result, where nothing else reads it."""
        made, rounding = self._source_of(scope, value), rounding_of(value)
        if made is None or made.form.rounding is not None or rounding is None:
            return None
        form = replace(made.form, rounding=Rounding(*rounding))
        return self._emit(scope, replace(made, form=form), shape_of(value))

    def _source_of(self, scope: Scope, value: relax.Call) -> _Call | None:
        """Return the attention that the operator reads, reshaped or not, where it is the only one."""
        source = value.args[0]
        while scope.used_once(source):
            made = next((call for var, call in self._made if var.same_as(source)), None)
            reshape = scope.defined_by(source, "relax.reshape")
            if made is not None or reshape is None:
                return made
            source = reshape.args[0]
        return None

    def _emit(self, scope: Scope, made: _Call, shape: tuple[int, ...]) -> relax.Expr:
        call = scope.call_te(
            partial(attention, form=made.form, by=self._by),
            *made.args,
            name="attention",
            pattern=OPAQUE,
            layer=made.name,
        )
        var = scope.emit(call, made.name)
        self._made.append((var, made))
        return var if shape_of(var) == shape else relax.op.reshape(var, shape)


def _match(scope: Scope, value: relax.Expr) -> _Call | None:
    """Return the attention whose last operator is ``value``; None where it is none."""
    if not is_product(value):
        return None
    softmax, zeros = _softmax(scope, value.args[0])
    scores = None if softmax is None else scores_of(scope, softmax.args[0])
    if scores is None:
        return None
    *lead, rows, _ = shape_of(value)
    *scores_lead, scores_rows, _ = shape_of(scores.product)
    if scores_rows != rows or math.prod(scores_lead) != math.prod(lead):
        return None
    query, key = scores.product.args
    operands = (
        Matrices.of(scope, query, tuple(scores_lead)),
        Matrices.of(scope, key, tuple(scores_lead), is_transposed=True),
        Matrices.of(scope, value.args[1], tuple(lead)),
    )
    return _arranged(scope, operands, scores, zeros, layer_name(value))


def _softmax(scope: Scope, value: relax.Expr) -> tuple[relax.Call | None, bool]:
    """Return the softmax of the last axis that nothing else reads, and whether zeros replace what is no number."""
    readers, zeros = 1, False
    call = scope.definition(value)
    while scope.readers(value) == readers:
        name, readers = op_name(call), 1
        if name == "relax.nn.softmax":
            is_last = int(call.attrs.axis) % len(shape_of(call)) == len(shape_of(call)) - 1
            return (call, zeros) if is_last else (None, False)
        if name == "relax.reshape" and keeps_rows(shape_of(call.args[0]), shape_of(call)):
            value = call.args[0]
        elif name == "relax.where" and _hides_nan(scope, call):
            # The condition reads the softmax too.
            value, readers, zeros = call.args[2], 2, True
        else:
            break
        call = scope.definition(value)
    return None, False


def _hides_nan(scope: Scope, choice: relax.Call) -> bool:
    """Tell whether a choice is ``where(isnan(x), 0, x)``."""
    condition, zero, data = choice.args
    test = scope.defined_by(condition, "relax.isnan")
    is_zero = is_constant(zero) and to_numpy(zero).size == 1 and not to_numpy(zero).any()
    return test is not None and test.args[0].same_as(data) and is_zero and scope.used_once(condition)


def _arranged(
    scope: Scope, operands: tuple[Matrices, Matrices, Matrices], scores: Scores, zeros: bool, name: str
) -> _Call:
    """Return the attention with its leading axes cut into batch and heads so that the least is copied."""

    def found(batch: int) -> tuple[Reading | None, ...]:
        query, key, value = (reading(each, batch, shares=place > 0) for place, each in enumerate(operands))
        if key is None or value is None or key.share != value.share:
            key, value = (reading(each, batch) for each in operands[1:])
        return query, key, value

    def copied(batch: int) -> int:
        return found(batch).count(None) + sum(copies(change, batch) for change in scores.changes)

    batch = min(cuts(operands), key=copied)
    read_from = [read(scope, each, batch, how) for each, how in zip(operands, found(batch), strict=True)]
    steps: list[Step] = []
    others: list[relax.Expr] = []
    for change in scores.changes:
        step = change.step
        if change.operand is not None:
            step = replace(step, operand=len(others))
            others.append(read_operand(scope, change, batch))
        steps.append(step)
    (_, of_query), (_, of_key), (_, of_value) = read_from
    form = Attention((of_query, of_key, of_value, HEADS_FIRST), tuple(steps), zeros=zeros)
    return _Call(form, (*(tensor for tensor, _ in read_from), *others), name)
