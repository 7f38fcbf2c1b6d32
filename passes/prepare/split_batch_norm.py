"""Batch normalization with constant statistics --> a multiplication and an addition per channel.

    gamma * (x - mean) / sqrt(var + eps) + beta  =  x * s + (beta - mean * s),   s = gamma / sqrt(var + eps)

``FoldAffine`` then folds the two into the operator before or behind; what it cannot fold stays as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import is_constant, layer_name, shape_of, to_numpy
from .rewriting import Scope, apply_rule


@tvm.transform.module_pass(opt_level=0, name="tvmq.SplitBatchNorm")
@dataclass(frozen=True)
class SplitBatchNorm:
    """Write batch normalization as ``x * s + t``. One whose statistics are computed in the graph is left."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module without inference batch norms."""
        return apply_rule(mod, _split)


def _split(scope: Scope, value: relax.Expr) -> relax.Expr | None:
    if not isinstance(value, relax.TupleGetItem) or value.index != 0:
        return None
    norm = scope.defined_by(value.tuple_value, "relax.nn.batch_norm")
    if norm is None or norm.attrs.training or not all(is_constant(argument) for argument in norm.args[1:]):
        return None
    data = norm.args[0]
    gamma, beta, mean, variance = (to_numpy(argument).astype(np.float64) for argument in norm.args[1:5])
    scale = 1.0 / np.sqrt(variance + norm.attrs.epsilon)
    if norm.attrs.scale:
        scale = scale * gamma
    shift = -mean * scale
    if norm.attrs.center:
        shift = shift + beta
    shape = [1] * len(shape_of(data))
    shape[norm.attrs.axis] = -1
    scaled = relax.op.multiply(data, relax.const(scale.astype(np.float32).reshape(shape)))
    name = layer_name(norm)
    result = relax.op.add(scope.emit(scaled, name), relax.const(shift.astype(np.float32).reshape(shape)))
    return scope.emit(result, name)
