"""Scaling and shifting behind a convolution or dense layer --> its weights and bias.

    (w * x + b) * s + t  =  (s w) * x + (s b + t)          s, t constant per output channel

A bias ends up as one addition of a constant of shape (1, C, 1, 1), or (N,) behind ``matmul``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import is_constant, layer_name, op_name, shape_of, to_numpy
from .affine import CHANNEL_AXIS, as_affine, bias_constant, per_channel
from .rewriting import Scope, apply_rule


@dataclass(frozen=True)
class Weighted:
    """A convolution or dense layer with constant weights, and its bias where it has one.

    ``bias`` is None or ``[C]`` float64; ``axis`` the result's channel axis.
    """

    call: relax.Call
    bias: np.ndarray | None
    axis: int


def match_weighted(scope: Scope, expr: relax.Expr) -> Weighted | None:
    """Return the weighted operator whose result, or result plus bias, ``expr`` alone is; None for others."""
    if not scope.used_once(expr):
        return None
    bias = None
    value = scope.definition(expr)
    if op_name(value) == "relax.add":
        affine = as_affine(value)
        if affine is None or not scope.used_once(affine.data):
            return None
        bias = affine.shift
        value = scope.definition(affine.data)
    if op_name(value) not in CHANNEL_AXIS or not has_constant_weight(value):
        return None
    axis = CHANNEL_AXIS[op_name(value)]
    if bias is not None:
        bias = per_channel(bias, shape_of(value), axis)
        if bias is None:
            return None
    return Weighted(value, bias, axis)


def has_constant_weight(call: relax.Call) -> bool:
    """Tell whether the second operand is a float constant: OIHW, or ``[K, N]``."""
    weight = call.args[1]
    if not is_constant(weight) or is_constant(call.args[0]) or to_numpy(weight).dtype != np.float32:
        return False
    if op_name(call) == "relax.nn.conv2d":
        return (call.attrs.data_layout, call.attrs.kernel_layout) == ("NCHW", "OIHW")
    return to_numpy(weight).ndim == 2


@tvm.transform.module_pass(opt_level=0, name="tvmq.FoldAffine")
@dataclass(frozen=True)
class FoldAffine:
    """Fold what follows a weighted operator into its weights and bias."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with the affine operators behind weighted ones folded."""
        return apply_rule(mod, _fold)


def _fold(scope: Scope, value: relax.Expr) -> relax.Expr | None:
    affine = as_affine(value)
    weighted = match_weighted(scope, affine.data) if affine is not None else None
    if weighted is None:
        return None
    shape = shape_of(weighted.call)
    scale = per_channel(affine.scale, shape, weighted.axis)
    shift = per_channel(affine.shift, shape, weighted.axis)
    if scale is None or shift is None:
        return None
    bias = shift if weighted.bias is None else weighted.bias * scale + shift
    constant = bias_constant(bias, len(shape), weighted.axis)
    name = layer_name(weighted.call)
    if (scale == 1.0).all():
        if weighted.bias is None and _is_canonical(value, constant, name):
            return None
        return scope.emit(relax.op.add(_unbiased(scope, affine.data, weighted), constant), name)
    weight = to_numpy(weighted.call.args[1]).astype(np.float64)
    # The filters are axis 0 of OIHW and axis 1 of [K, N].
    weight = weight * (scale.reshape(-1, 1, 1, 1) if weight.ndim == 4 else scale)
    args = [weighted.call.args[0], relax.const(weight.astype(np.float32))]
    scaled = scope.emit(relax.Call(weighted.call.op, args, weighted.call.attrs), name)
    if not bias.any():
        return scaled
    return scope.emit(relax.op.add(scaled, constant), name)


def _is_canonical(value: relax.Call, constant: relax.Expr, name: str) -> bool:
    """Tell whether the call adds a bias in the one form that later passes look for, in the layer's name."""
    return (
        layer_name(value) == name
        and op_name(value) == "relax.add"
        and is_constant(value.args[1])
        and shape_of(value.args[1]) == shape_of(constant)
    )


def _unbiased(scope: Scope, result: relax.Expr, weighted: Weighted) -> relax.Expr:
    """Return the variable of the weighted operator itself."""
    return result if weighted.bias is None else as_affine(scope.definition(result)).data
