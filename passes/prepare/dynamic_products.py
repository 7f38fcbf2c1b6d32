"""Products whose data an imported model quantizes while it runs --> products of row pairs.

    q, s, z = DynamicQuantizeLinear(x)
    float32(int32(q - z) @ int32(w - w_zero)) * (s * w_scale)
    -->
    matmul(rows(x), dequantize(w - w_zero, w_scale))

with one scale for all of ``x`` (``passes.hub.row_pairs``): what onnxruntime's dynamic quantization writes. Weights that
do not fit int8 without their zero points become float: a product of int32 would be slower.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import constant, dtype_of, is_constant, layer_name, op_name, shape_of, to_numpy
from ..hub.row_pairs import INTEGERS, WHOLE, asymmetric_integers, chain_of, emit_row_pair, is_same
from .rewriting import Scope, apply_rule

_MOVES = ("relax.astype", "relax.reshape", "relax.expand_dims", "relax.squeeze")


@tvm.transform.module_pass(opt_level=0, name="tvmq.DynamicProducts")
@dataclass(frozen=True)
class DynamicProducts:
    """Give imported dynamic products the hub's form."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with row pairs, one for all products that read a value."""
        pairs: dict[relax.Expr, relax.Var] = {}
        return apply_rule(mod, lambda scope, value: _rewritten(scope, value, pairs))


@dataclass(frozen=True)
class _Found:
    """``weight`` is int32 ``[K, N]`` without zero points, ``scale`` float32 of one element or ``[N]``."""

    source: relax.Var
    weight: np.ndarray
    scale: np.ndarray


def _rewritten(scope: Scope, value: relax.Expr, pairs: dict[relax.Expr, relax.Var]) -> relax.Expr | None:
    found = _match(scope, value)
    if found is None:
        return None
    name, scale = layer_name(value), np.ascontiguousarray(found.scale.reshape(-1), np.float32)
    if found.source not in pairs:
        pairs[found.source] = emit_row_pair(
            scope.builder, found.source, symmetric=False, whole=True, name=name
        )
    if np.abs(found.weight + 0.5).max(initial=0) > 128:
        weight = constant((found.weight * scale).astype(np.float32))
    else:
        zero_points = constant(np.zeros(scale.shape, np.int8))
        integers = constant(found.weight.astype(np.int8))
        weight = scope.emit(relax.op.dequantize(integers, constant(scale), zero_points, axis=1), name)
    return relax.op.matmul(pairs[found.source], weight)


def _match(scope: Scope, value: relax.Expr) -> _Found | None:
    """Return what a product of scales and an integer product is made of; None for anything else."""
    if op_name(value) != "relax.multiply":
        return None
    for total, scales in (value.args, reversed(value.args)):
        cast = scope.defined_by(total, "relax.astype")
        product = scope.defined_by(cast.args[0], "relax.matmul") if cast is not None else None
        parts = scope.defined_by(scales, "relax.multiply")
        if product is None or parts is None or dtype_of(product) != "int32":
            continue
        for data_scale, weight_scale in (parts.args, reversed(parts.args)):
            found = _product(scope, product, data_scale, weight_scale)
            if found is not None:
                return found
    return None


def _product(
    scope: Scope, product: relax.Call, data_scale: relax.Expr, weight_scale: relax.Expr
) -> _Found | None:
    data, weight = product.args
    if not all(map(is_constant, (weight, weight_scale))) or len(shape_of(weight)) != 2:
        return None
    scale = to_numpy(weight_scale)
    if scale.size not in (1, shape_of(weight)[1]) or scale.size != (scale.shape or (1,))[-1]:
        return None
    centred = scope.defined_by(data, "relax.subtract")
    if centred is None:
        return None
    integers, zero, own_scale = (_unmoved(scope, part) for part in (*centred.args, data_scale))
    chain = chain_of(scope.definition, integers, INTEGERS)
    if chain is None:
        return None
    source = scope.definition(chain[-1]).args[0]
    expected = asymmetric_integers(source, WHOLE, lambda call: call)
    is_dynamic = all(
        is_same(scope.definition, own, other)
        for own, other in zip((integers, own_scale, zero), expected, strict=True)
    )
    return _Found(source, to_numpy(weight), scale) if is_dynamic else None


def _unmoved(scope: Scope, expr: relax.Expr) -> relax.Expr:
    """Return the value of which ``expr`` has the elements, in another dtype or shape."""
    while True:
        move = scope.defined_by(expr, *_MOVES)
        if move is None:
            return expr
        expr = move.args[0]
