"""Activations whose scales are found while the model runs, one a row: the pair of a dynamically quantized layer.

    symmetric     scale = max |x| / 127                             y = clip(round(x / scale), -127, 127) * scale
    asymmetric    scale = (max(x, 0) - min(x, 0)) / 255             zero = clip(round(-min(x, 0) / scale), 0, 255)
                  y = (clip(round(x / scale) + zero, 0, 255) - zero) * scale

A scale of 0 becomes 1. Rows lie along the last axis, with ``[..., 1]`` scales; or the whole tensor is one, as ONNX's
DynamicQuantizeLinear has it. All of it are ordinary float operators, so the module runs as it stands, for any number of
rows, and rounds to the numbers that the integers of ``arithmetic.quantize_rows`` stand for.

``emit_row_pair`` writes it, and ``row_pairs`` finds it again by comparing with what that would write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tvm_ffi
from tvm import IRModule, relax

from .graph import bindings_of, is_constant, number, op_name, to_numpy, with_layer_name

Bind = Callable[[relax.Expr], relax.Expr]
Definition = Callable[[relax.Expr], relax.Expr]
"""What a variable is bound to; the expression itself where there is nothing."""

ROWS, WHOLE = [-1], None
"""Axes that a scale is of."""

INTEGERS = ("relax.clip", "relax.add", "relax.round", "relax.divide")
"""From asymmetric integers to what reads the source, each the first operand of the one before."""

_SYMMETRIC = ("relax.multiply", "relax.clip", "relax.round", "relax.divide")
_ASYMMETRIC = ("relax.multiply", "relax.subtract", *INTEGERS)
"""The same from the result of a pair."""


@dataclass(frozen=True)
class RowPair:
    """A value that rows of integers stand for.

    Attributes
    ----------
    source : the float value.
    symmetric : rows have no zero points of their own.
    whole : the tensor is one row.
    chain : the result and what leads to it from the source: without the pair each would be its first operand.
    """

    source: relax.Var
    symmetric: bool
    whole: bool
    chain: tuple[relax.Var, ...]


def emit_row_pair(
    builder: relax.BlockBuilder, data: relax.Expr, *, symmetric: bool, whole: bool = False, name: str = ""
) -> relax.Var:
    """Bind a float32 value rounded to the integers of its rows; the bindings bear the layer's name."""

    def bind(call: relax.Expr) -> relax.Var:
        return builder.emit(with_layer_name(call, name))

    return _rounded(data, symmetric, WHOLE if whole else ROWS, bind)


def row_pairs(mod: IRModule) -> dict[relax.Var, RowPair]:
    """Return the row pairs of a module, by the variable of each result."""
    values = {binding.var: binding.value for binding in bindings_of(mod)}

    def definition(expr: relax.Expr) -> relax.Expr:
        return values.get(expr, expr) if isinstance(expr, relax.Var) else expr

    found = {}
    for var in values:
        for operators in (_SYMMETRIC, _ASYMMETRIC):
            chain = chain_of(definition, var, operators)
            if chain is None:
                continue
            source, symmetric = values[chain[-1]].args[0], operators is _SYMMETRIC
            for axis in (ROWS, WHOLE):
                if is_same(definition, var, _rounded(source, symmetric, axis, lambda call: call)):
                    found[var] = RowPair(source, symmetric, axis is WHOLE, chain)
    return found


def _rounded(data: relax.Expr, symmetric: bool, axis: list[int] | None, bind: Bind) -> relax.Expr:
    """Return the formula of this file's docstring; ``bind`` is given each of its operators."""
    if symmetric:
        magnitude = bind(relax.op.abs(data))
        most = bind(relax.op.max(magnitude, axis, keepdims=True))
        scale = _scale(bind(relax.op.divide(most, number(127))), bind)
        steps = bind(relax.op.round(bind(relax.op.divide(data, scale))))
        return bind(relax.op.multiply(bind(relax.op.clip(steps, -127.0, 127.0)), scale))
    integers, scale, zero = asymmetric_integers(data, axis, bind)
    return bind(relax.op.multiply(bind(relax.op.subtract(integers, zero)), scale))


def asymmetric_integers(
    data: relax.Expr, axis: list[int] | None, bind: Bind
) -> tuple[relax.Expr, relax.Expr, relax.Expr]:
    """Return the integers from 0 to 255, the scale and the zero point of asymmetric rows, all of them as float32.

    Parameters
    ----------
    axis : ``ROWS`` or ``WHOLE``.
    bind : is given each operator, and returns what the others read.
    """
    most = bind(relax.op.nn.relu(bind(relax.op.max(data, axis, keepdims=True))))
    least = bind(relax.op.min(data, axis, keepdims=True))
    below = bind(relax.op.nn.relu(bind(relax.op.negative(least))))
    span = bind(relax.op.add(most, below))
    scale = _scale(bind(relax.op.divide(span, number(255))), bind)
    zero = bind(relax.op.round(bind(relax.op.divide(below, scale))))
    zero = bind(relax.op.clip(zero, 0.0, 255.0))
    steps = bind(relax.op.round(bind(relax.op.divide(data, scale))))
    return bind(relax.op.clip(bind(relax.op.add(steps, zero)), 0.0, 255.0)), scale, zero


def _scale(step: relax.Expr, bind: Bind) -> relax.Expr:
    is_zero = bind(relax.op.equal(step, number(0)))
    return bind(relax.op.where(is_zero, number(1), step))


def chain_of(
    definition: Definition, var: relax.Expr, operators: tuple[str, ...]
) -> tuple[relax.Var, ...] | None:
    """Return the variables bound to these operators, from ``var`` back; None where there are others."""
    chain = []
    for name in operators:
        if not isinstance(var, relax.Var) or op_name(definition(var)) != name:
            return None
        chain.append(var)
        var = definition(var).args[0]
    return tuple(chain) if isinstance(var, relax.Var) else None


def is_same(definition: Definition, found: relax.Expr, expected: relax.Expr) -> bool:
    """Tell whether an expression of bound variables is a nested one."""
    if isinstance(expected, relax.Var):
        return found.same_as(expected)
    if is_constant(expected):
        return is_constant(found) and np.array_equal(to_numpy(found), to_numpy(expected))
    value = definition(found)
    if not isinstance(expected, relax.Call):
        return tvm_ffi.structural_equal(value, expected)
    return (
        op_name(value) == op_name(expected)
        and tvm_ffi.structural_equal(value.attrs, expected.attrs)
        and all(is_same(definition, own, other) for own, other in zip(value.args, expected.args, strict=True))
    )
