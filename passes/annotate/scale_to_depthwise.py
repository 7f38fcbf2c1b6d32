"""A multiplication or addition with a constant per channel --> a depthwise convolution of one tap.

    x * s + t, s and t [C]  -->  conv2d(x, s as [C, 1, 1, 1], groups=C) + t

That is what is left of a batch norm before an activation, and of an input's normalization before a padded
convolution. As a convolution it runs on integers, exactly as any other. ``Annotate`` runs this rewrite first;
a model that stays in float has no use for it. What a step makes bits of stays as it is: bits are to be those of the
float model. So do factors of products: their second axis are the heads of an attention, not channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import bindings_of, dtype_of, layer_name, op_name, shape_of
from ..hub.two_valued import two_valued
from ..prepare.affine import CHANNEL_AXIS, Affine, as_affine, bias_constant, per_channel
from ..prepare.fold_affine import FoldAffine
from ..prepare.rewriting import Scope, apply_rule

RANK = 4
AXIS = CHANNEL_AXIS["relax.nn.conv2d"]


@tvm.transform.module_pass(opt_level=0, name="tvmq.ScaleToDepthwise")
@dataclass(frozen=True)
class ScaleToDepthwise:
    """Write scaling and shifting per channel of ``[N, C, H, W]`` as depthwise convolution and bias."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with no constant per channel outside of weights and biases."""
        return FoldAffine()(apply_rule(mod, partial(_rewrite, kept=_before_steps(mod))))


def _before_steps(mod: IRModule) -> set[str]:
    """Return the names of the layers that scale and shift what a step makes two values of."""
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    found = set()
    for step in two_valued(mod).values():
        var: relax.Expr = step.root
        while (affine := as_affine(values.get(var))) is not None:
            found.add(layer_name(values[var]))
            var = affine.data
    return found


def _rewrite(scope: Scope, value: relax.Expr, kept: set[str]) -> relax.Expr | None:
    affine = as_affine(value)
    if (
        affine is None
        or layer_name(value) in kept
        or len(shape_of(value)) != RANK
        or dtype_of(value) != "float32"
    ):
        return None
    if affine.scale.size == affine.shift.size == 1 or _is_bias(scope, affine):
        return None
    if scope.defined_by(affine.data, "relax.matmul") is not None:
        return None
    scale = per_channel(affine.scale, shape_of(value), AXIS)
    shift = per_channel(affine.shift, shape_of(value), AXIS)
    if scale is None or shift is None:
        return None
    name = layer_name(value)
    weight = relax.const(scale.astype(np.float32).reshape(-1, 1, 1, 1))
    scaled = scope.emit(relax.op.nn.conv2d(affine.data, weight, groups=scale.size), name)
    if not shift.any():
        return scaled
    return scope.emit(relax.op.add(scaled, bias_constant(shift, RANK, AXIS)), name)


def _is_bias(scope: Scope, affine: Affine) -> bool:
    """Tell whether the operator adds to what a convolution alone gives."""
    convolution = op_name(scope.definition(affine.data)) == "relax.nn.conv2d"
    return convolution and scope.used_once(affine.data) and affine.scale.size == 1
