"""Scaling and shifting before a convolution or dense layer --> its weights and bias.

    w * (s x + t)  =  (w s) * x + sum(w t)                 s, t constant per input channel

So an input's ``x / 255``, ``- mean``, ``/ std`` and a batch norm before its convolution cost nothing. A shift
does not pass zero padding, where it would have added to nothing: there, only a scale folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import layer_name, op_name, shape_of, to_numpy
from .affine import (
    CHANNEL_AXIS,
    Affine,
    as_affine,
    bias_constant,
    is_padded,
    per_channel,
    response_to_constant,
    spread_over_inputs,
)
from .fold_affine import has_constant_weight
from .rewriting import Scope, apply_rule


@tvm.transform.module_pass(opt_level=0, name="tvmq.FoldAffineForward")
@dataclass(frozen=True)
class FoldAffineForward:
    """Fold what precedes a weighted operator into its weights and a bias behind it."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with the affine operators before weighted ones folded."""
        return apply_rule(mod, _fold)


def _fold(scope: Scope, value: relax.Expr) -> relax.Expr | None:
    if op_name(value) not in CHANNEL_AXIS or not has_constant_weight(value):
        return None
    data = value.args[0]
    if _next_affine(scope, value, data) is None:
        return None  # before its weights are copied
    weight = to_numpy(value.args[1]).astype(np.float64)
    bias = np.zeros(shape_of(value)[CHANNEL_AXIS[op_name(value)]])
    while (affine := _next_affine(scope, value, data)) is not None:
        channels = per_channel(affine.scale, shape_of(data), CHANNEL_AXIS[op_name(value)])
        shifts = per_channel(affine.shift, shape_of(data), CHANNEL_AXIS[op_name(value)])
        bias = bias + response_to_constant(value, weight, shifts)
        weight = weight * spread_over_inputs(value, weight, channels)
        data = affine.data
    name = layer_name(value)
    args = [data, relax.const(weight.astype(np.float32))]
    product = scope.emit(relax.Call(value.op, args, value.attrs), name)
    if not bias.any():
        return product
    axis = CHANNEL_AXIS[op_name(value)]
    return scope.emit(relax.op.add(product, bias_constant(bias, len(shape_of(value)), axis)), name)


def _next_affine(scope: Scope, call: relax.Call, data: relax.Expr) -> Affine | None:
    """Return the affine operator that gives ``data``, where it may be folded into ``call``."""
    affine = as_affine(scope.definition(data)) if scope.used_once(data) else None
    if affine is None:
        return None
    axis = CHANNEL_AXIS[op_name(call)]
    scale = per_channel(affine.scale, shape_of(data), axis)
    shift = per_channel(affine.shift, shape_of(data), axis)
    if scale is None or shift is None:
        return None
    return None if is_padded(call) and shift.any() else affine
