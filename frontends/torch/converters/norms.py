"""Normalizations and softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from tvm import relax

from ....passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
from ..scope import Scope

Optional: TypeAlias = relax.Expr | None


def batch_norm(
    s: Scope, x: relax.Expr, weight: Optional, bias: Optional, mean: relax.Expr, variance: relax.Expr,
    momentum: float, epsilon: float,
) -> tuple[Optional, ...]:  # fmt: skip
    """With the statistics of training. It gives the batch's own too, which inference leaves out."""
    channels = shape_of(mean)
    weight, bias = _filled(s, weight, channels, 1, x), _filled(s, bias, channels, 0, x)
    return s.onnx("BatchNormalization", x, weight, bias, mean, variance, epsilon=float(epsilon)), None, None


def batch_norm_of_itself(
    s: Scope, x: relax.Expr, weight: Optional, bias: Optional, training: bool, momentum: float, epsilon: float
) -> tuple[Optional, ...]:
    """By the mean and the variance of each channel of what is normalized."""
    channels = shape_of(x)[1:2]
    weight, bias = _filled(s, weight, channels, 1, x), _filled(s, bias, channels, 0, x)
    axes = [axis for axis in range(len(shape_of(x))) if axis != 1]
    return _normalized(s, x, axes, weight, bias, epsilon), None, None


def layer_norm(
    s: Scope, x: relax.Expr, extents: Sequence[int], weight: Optional, bias: Optional, epsilon: float
) -> tuple[Optional, ...]:
    """Over the last axes, as many as ``extents``."""
    weight, bias = _filled(s, weight, extents, 1, x), _filled(s, bias, extents, 0, x)
    axes = list(range(-len(extents), 0))
    return relax.op.nn.layer_norm(x, weight, bias, axes=axes, epsilon=epsilon), None, None


def group_norm(
    s: Scope, x: relax.Expr, weight: Optional, bias: Optional, batch: int, channels: int, positions: int,
    groups: int, epsilon: float,
) -> tuple[Optional, ...]:  # fmt: skip
    """Over the channels of each group, at all positions."""
    weight, bias = _filled(s, weight, (channels,), 1, x), _filled(s, bias, (channels,), 0, x)
    shape = shape_of(x)
    grouped = s.reshape(x, (batch, groups, -1))
    ones, zeros = _filled(s, None, shape_of(grouped)[2:], 1, x), _filled(s, None, shape_of(grouped)[2:], 0, x)
    rows = s.emit(relax.op.nn.layer_norm(grouped, ones, zeros, axes=[-1], epsilon=epsilon))
    return _affine(s, s.reshape(rows, shape), weight, bias), None, None


def softmax(s: Scope, x: relax.Expr, axis: int, *dtype: object) -> relax.Expr:
    return relax.op.nn.softmax(s.cast(x, s.dtype), s.axis(x, axis))


def log_softmax(s: Scope, x: relax.Expr, axis: int, *dtype: object) -> relax.Expr:
    return relax.op.nn.log_softmax(s.cast(x, s.dtype), s.axis(x, axis))


def _filled(s: Scope, value: Optional, shape: Sequence[int], number: float, like: relax.Expr) -> relax.Expr:
    return constant(np.full(tuple(shape), number, dtype_of(like))) if value is None else value


def _normalized(
    s: Scope, x: relax.Expr, axes: list[int], weight: relax.Expr, bias: relax.Expr, epsilon: float
) -> relax.Expr:
    centred = s.emit(relax.op.subtract(x, s.emit(relax.op.mean(x, axes, keepdims=True))))
    variance = s.emit(relax.op.mean(s.emit(relax.op.multiply(centred, centred)), axes, keepdims=True))
    deviation = s.emit(relax.op.sqrt(s.emit(relax.op.add(variance, s.number(epsilon, dtype_of(x))))))
    return _affine(s, s.emit(relax.op.divide(centred, deviation)), weight, bias)


def _affine(s: Scope, x: relax.Expr, weight: relax.Expr, bias: relax.Expr) -> relax.Expr:
    """Return ``x weight + bias`` with one of each a channel."""
    shape = (1, -1) + (1,) * (len(shape_of(x)) - 2)
    weight, bias = (
        constant(to_numpy(each).reshape(shape))
        if is_constant(each)
        else s.emit(relax.op.reshape(each, shape))
        for each in (weight, bias)
    )
    return relax.op.add(s.emit(relax.op.multiply(x, weight)), bias)
