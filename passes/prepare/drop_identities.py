"""Operators that change nothing --> their input, and some that say the same more simply.

dropout(x)[0]                            --> x
astype, reshape, permute_dims, pad, ...  --> x          where dtype, shape, order stay as they are
x * 1, x / 1, x + 0, x - 0               --> x
concat((x,))                             --> x
reshape(reshape(x)), of expand_dims, ..  --> reshape(x)
where(all true, x, y), all false         --> x, y
relu6(x), minimum(maximum(x, a), b)      --> clip(x, a, b)
maximum(x, 0)                            --> relu(x)
relu(relu(x)), clip(relu(x), a, b), ...  --> one relu or clip with the common range
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import dtype_of, is_constant, op_name, shape_of, to_numpy
from .rewriting import Scope, apply_rule

RESHAPES = ("relax.reshape", "relax.flatten", "relax.squeeze", "relax.expand_dims")
"""Operators that keep the elements and their order."""

SAME_SHAPE_IS_SAME_VALUE = frozenset({*RESHAPES, "relax.broadcast_to"})
"""Where they keep the shape, they do nothing."""

NEUTRAL = {"relax.add": 0.0, "relax.subtract": 0.0, "relax.multiply": 1.0, "relax.divide": 1.0}
"""The second operand with which an operator does nothing."""

COMMUTATIVE = frozenset({"relax.add", "relax.multiply"})


@tvm.transform.module_pass(opt_level=0, name="tvmq.DropIdentities")
@dataclass(frozen=True)
class DropIdentities:
    """Drop operators without effect."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module without identities."""
        return apply_rule(mod, _simplify)


def _simplify(scope: Scope, value: relax.Expr) -> relax.Expr | None:
    if isinstance(value, relax.TupleGetItem):
        dropout = scope.defined_by(value.tuple_value, "relax.nn.dropout")
        return dropout.args[0] if dropout is not None and value.index == 0 else None
    if op_name(value) == "relax.where":
        return _only_branch(value)
    if _does_nothing(value):
        return value.args[0]
    name = op_name(value)
    if name in COMMUTATIVE and _is_neutral(name, value.args[1], value.args[0]):
        return value.args[1]
    if name == "relax.concat" and len(value.args[0].fields) == 1:
        return value.args[0].fields[0]
    if name == "relax.reshape":
        inner = scope.defined_by(value.args[0], *RESHAPES)
        if inner is None:
            return None
        data = inner.args[0]
        return data if shape_of(data) == shape_of(value) else relax.op.reshape(data, value.args[1])
    return _merge_ranges(scope, value)


def _does_nothing(call: relax.Call) -> bool:
    """Tell whether the call's value is its first argument."""
    name = op_name(call)
    if name in SAME_SHAPE_IS_SAME_VALUE:
        return shape_of(call.args[0]) == shape_of(call)
    if name == "relax.astype":
        return dtype_of(call.args[0]) == dtype_of(call)
    if name == "relax.permute_dims":
        rank = len(shape_of(call))
        axes = call.attrs.axes
        return axes is not None and [int(axis) % rank for axis in axes] == list(range(rank))
    if name == "relax.nn.pad":
        return not any(int(width) for width in call.attrs.pad_width)
    if name == "relax.strided_slice":
        strides = call.args[4].fields if len(call.args) > 4 else ()
        return shape_of(call.args[0]) == shape_of(call) and all(int(stride) > 0 for stride in strides)
    return name in NEUTRAL and _is_neutral(name, call.args[0], call.args[1])


def _only_branch(call: relax.Call) -> relax.Expr | None:
    """Return the operand that a choice always takes, where it has the result's shape."""
    condition, chosen, other = call.args
    if not is_constant(condition) or to_numpy(condition).all() != to_numpy(condition).any():
        return None
    branch = chosen if to_numpy(condition).all() else other
    return branch if shape_of(branch) == shape_of(call) else None


def _is_neutral(name: str, data: relax.Expr, operand: relax.Expr) -> bool:
    """Tell whether ``operand`` is the operator's neutral element everywhere, and does not widen ``data``."""
    if not is_constant(operand) or is_constant(data):
        return False
    value = to_numpy(operand)
    widens = np.broadcast_shapes(value.shape, shape_of(data)) != shape_of(data)
    return not widens and bool(np.all(value == NEUTRAL[name]))


def value_range(call: relax.Expr) -> tuple[float, float] | None:
    """Return (low, high) of a relu, clip, or maximum or minimum with a scalar constant; None for others."""
    name = op_name(call)
    if name == "relax.nn.relu":
        return 0.0, np.inf
    if name == "relax.clip":
        return float(call.args[1].value), float(call.args[2].value)
    if name in ("relax.maximum", "relax.minimum") and is_constant(call.args[1]):
        bound = to_numpy(call.args[1])
        if bound.size != 1 or bound.ndim > len(shape_of(call.args[0])) or bound.dtype.kind != "f":
            return None
        limit = float(bound.item())
        return (limit, np.inf) if name == "relax.maximum" else (-np.inf, limit)
    return None


def _merge_ranges(scope: Scope, call: relax.Call) -> relax.Expr | None:
    """Merge a range with that of its input, where that has one, and write it as relu or clip."""
    own = value_range(call)
    if own is None or np.isnan(own).any():
        return None
    data = call.args[0]
    low, high = own
    inner_call = scope.definition(data)
    inner = value_range(inner_call)
    if inner is not None and not np.isnan(inner).any():
        # min(max(., a), b) after another: the bounds of the inner one, cut to the outer one.
        low, high = (min(max(bound, own[0]), own[1]) for bound in inner)
        if (low, high) == inner:
            return data
        if not scope.used_once(data):
            return None
        return _range_call(inner_call.args[0], low, high)
    return _range_call(data, low, high) if op_name(call) not in ("relax.nn.relu", "relax.clip") else None


def _range_call(data: relax.Expr, low: float, high: float) -> relax.Expr | None:
    """Return relu or clip of ``data``; None for another range with an open end, which neither can express."""
    if (low, high) == (0.0, np.inf):
        return relax.op.nn.relu(data)
    if np.isinf(low) or np.isinf(high):
        return None
    return relax.op.clip(data, low, high)
