"""Sums, means, maxima and what else makes one number of many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from tvm import relax

from ....passes.hub.graph import constant, dtype_of, shape_of
from ..scope import Scope

Axes: TypeAlias = int | Sequence[int] | None


def reduction(op_type: str) -> Callable:
    """Return the converter of a reduction that ONNX has too, over the axes that are given or over all."""

    def convert(s: Scope, x: relax.Expr, axes: Axes = None, keep: bool = False, *dtype) -> relax.Expr:
        return _reduced(s, op_type, s.cast(x, s.dtype), axes, keep)

    return convert


def over_all(op_type: str) -> Callable:
    """Return the converter of a reduction over all axes."""
    return lambda s, x, *dtype: _reduced(s, op_type, s.cast(x, s.dtype), None, False)


def any_(s: Scope, x: relax.Expr, axes: Axes = None, keep: bool = False) -> relax.Expr:
    found = relax.op.not_equal(x, s.number(0, dtype_of(x))) if dtype_of(x) != "bool" else x
    return s.cast(_reduced(s, "ReduceMax", s.cast(s.emit(found), "int32"), axes, keep), "bool")


def variance(
    s: Scope, x: relax.Expr, axes: Axes = None, correction: float | None = 1, keep: bool = False
) -> relax.Expr:
    """The sum of squares about the mean, divided by the number of elements less the correction."""
    squares, count = _squares(s, x, axes, keep)
    divisor = max(count - (1 if correction is None else correction), 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.float64(1) / np.float64(divisor)
    return relax.op.multiply(squares, s.number(factor, dtype_of(x)))


def variance_and_mean(
    s: Scope, x: relax.Expr, axes: Axes = None, correction: float | None = 1, keep: bool = False
) -> tuple[relax.Expr, relax.Expr]:
    return variance(s, x, axes, correction, keep), _reduced(s, "ReduceMean", x, axes, keep)


def _squares(s: Scope, x: relax.Expr, axes: Axes, keep: bool) -> tuple[relax.Expr, int]:
    given = _axes(s, x, axes)
    mean = s.emit(relax.op.mean(x, given, keepdims=True))
    centred = s.emit(relax.op.subtract(x, mean))
    total = relax.op.sum(s.emit(relax.op.multiply(centred, centred)), given, keepdims=keep)
    return s.emit(total), int(np.prod([shape_of(x)[axis] for axis in given]))


def extreme(op_type: str, argument: str) -> Callable:
    """Return the converter of the extreme along an axis, and where it is."""

    def convert(s: Scope, x: relax.Expr, axis: int, keep: bool = False) -> tuple[relax.Expr, relax.Expr]:
        found = s.emit(_reduced(s, op_type, x, axis, keep))
        return found, position(argument)(s, x, axis, keep)

    return convert


def position(op_type: str) -> Callable:
    """Return the converter of where an extreme is: along an axis, or in the flattened tensor."""

    def convert(s: Scope, x: relax.Expr, axis: int | None = None, keep: bool = False) -> relax.Expr:
        shape = shape_of(x)
        if axis is None or not shape:
            flat = s.reshape(x, (-1,))
            found = s.emit(s.onnx(op_type, flat, axis=0, keepdims=0))
            return s.reshape(found, (1,) * len(shape) if keep else ())
        return s.onnx(op_type, x, axis=s.axis(x, axis), keepdims=int(keep))

    return convert


def cumulated(op_type: str) -> Callable:
    """Return the converter of sums or products of all elements up to each along an axis."""

    def convert(s: Scope, x: relax.Expr, axis: int, *dtype) -> relax.Expr:
        x = s.cast(x, s.dtype)
        if not shape_of(x):
            return x
        return s.onnx(op_type, x, constant(np.array(s.axis(x, axis), np.int64)))

    return convert


def topk(
    s: Scope, x: relax.Expr, k: int, axis: int = -1, largest: bool = True, is_sorted: bool = True
) -> tuple[relax.Expr, ...]:
    count = constant(np.array([k], np.int64))
    how = {"axis": s.axis(x, axis), "largest": int(largest), "sorted": 1}
    return tuple(s.onnx_outputs("TopK", 2, x, count, **how))


def sort(s: Scope, x: relax.Expr, axis: int = -1, descending: bool = False) -> tuple[relax.Expr, ...]:
    return topk(s, x, shape_of(x)[s.axis(x, axis)], axis, descending)


def _axes(s: Scope, x: relax.Expr, axes: Axes) -> list[int]:
    """Return the axes that are given; none, or an empty list of them, is all."""
    rank = len(shape_of(x))
    if axes is None or axes == []:
        return list(range(rank))
    return sorted({axis % rank for axis in ([axes] if isinstance(axes, int) else axes)} if rank else [])


def _reduced(s: Scope, op_type: str, x: relax.Expr, axes: Axes, keep: bool) -> relax.Expr:
    given = _axes(s, x, axes)
    if not given:
        return x  # a scalar
    return s.onnx(op_type, x, constant(np.array(given, np.int64)), keepdims=int(keep))
