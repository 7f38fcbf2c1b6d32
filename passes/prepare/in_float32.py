"""A model in float16, bfloat16 or float64 --> the same in float32, with its inputs and outputs as they were.

    x: float16 -> conv2d(x, w) -> y: float16   -->   x -> astype(float32) -> conv2d(., w') -> astype(float16) -> y

Quantization knows one float type, and what stays in float between integers is few operators. Only the types in which
convolutions and matrix products work are converted: indices that a float32 model computes in float64 stay exact. An
operator that cannot be told another type (a kernel of its own, an attribute) keeps its own, between casts.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import IRModule, relax

from ..hub.contract import module_pass
from ..hub.graph import (
    activations,
    bindings_of,
    constant,
    dtype_of,
    is_constant,
    layer_name,
    op_name,
    rebuild,
    results_of,
    substitute,
    to_numpy,
    with_layer_name,
)
from .affine import CHANNEL_AXIS

OTHERS = frozenset({"float16", "bfloat16", "float64"})
FLOAT32 = "float32"


@module_pass()
@dataclass(frozen=True)
class InFloat32:
    """Compute in float32 what the module's weighted operators compute in other floats."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module in float32; one without such operators as it is."""
        kinds = {
            dtype_of(binding.var) for binding in bindings_of(mod) if op_name(binding.value) in CHANNEL_AXIS
        }
        return _Converter(mod, OTHERS & kinds).convert() if OTHERS & kinds else mod


class _Converter:
    def __init__(self, mod: IRModule, kinds: frozenset[str]):
        self._mod, self._kinds = mod, kinds
        self._values = {binding.var: binding.value for binding in bindings_of(mod)}
        self._inputs: dict[relax.Var, relax.Expr] = {}  # the model's, cast where they are read first

    def convert(self) -> IRModule:
        results = [self._as_before(result) for result in results_of(self._mod)]
        whole = relax.Tuple(results) if isinstance(self._mod["main"].ret_ty, relax.TupleType) else results[0]
        return relax.transform.DeadCodeElimination()(rebuild(self._mod, self._rewrite, result=whole))

    def _as_before(self, result: relax.Expr) -> relax.Expr:
        """Return a result of the model cast to the type that it had; inputs and constants have it still."""
        if activations(result) and activations(result)[0] in self._values and self._is_other(result.ty):
            return relax.op.astype(result, dtype_of(result))
        return result

    def _is_other(self, ty: tvm.ir.Type) -> bool:
        return isinstance(ty, relax.TensorType) and str(ty.dtype) in self._kinds

    def _rewrite(self, builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        for param in activations(value):
            if param not in self._inputs and self._is_other(param.ty):
                self._inputs[param] = builder.emit(relax.op.astype(param, FLOAT32))
        value = self._with_constants(substitute(value, self._inputs))
        if not isinstance(value, relax.Call):
            return value
        value = self._with_type(value)
        if not isinstance(value, relax.Call):
            return value
        try:
            if self._kinds.isdisjoint(_dtypes(builder.normalize(value).ty)):
                return value
        except (RuntimeError, TypeError, ValueError):  # what TVM raises for operands of unlike types
            pass
        return self._between_casts(builder, value, self._values[var])

    def _with_type(self, call: relax.Call) -> relax.Expr:
        """Return a call whose attribute says the type with float32 there; its operand where it casts nothing now."""
        if op_name(call) == "relax.astype" and str(call.attrs.dtype) in {*self._kinds, FLOAT32}:
            data = call.args[0]
            if isinstance(data, relax.Var) and dtype_of(data) == FLOAT32:
                return data
            return with_layer_name(relax.op.astype(data, FLOAT32), layer_name(call))
        if op_name(call) == "relax.dequantize" and str(call.attrs.out_dtype) in self._kinds:
            changed = relax.op.dequantize(*call.args, axis=call.attrs.axis, out_dtype=FLOAT32)
            return with_layer_name(changed, layer_name(call))
        return call

    def _with_constants(self, expr: relax.Expr) -> relax.Expr:
        """Return the expression with float32 constants for those of the other types."""
        if is_constant(expr):
            return constant(to_numpy(expr).astype(FLOAT32)) if self._is_other(expr.ty) else expr
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._with_constants(item) for item in expr.fields])
        if isinstance(expr, relax.Call):
            args = [self._with_constants(item) for item in expr.args]
            return relax.Call(expr.op, args, expr.attrs, expr.ty_args, span=expr.span)
        return expr

    def _between_casts(self, builder: relax.BlockBuilder, value: relax.Call, old: relax.Call) -> relax.Expr:
        """Return the result, in float32, of the operator as it was."""
        args = [
            self._cast_back(builder, new, before) for new, before in zip(value.args, old.args, strict=True)
        ]
        call = builder.emit(relax.Call(old.op, args, old.attrs, old.ty_args, span=old.span))
        if not isinstance(call.ty, relax.TupleType):
            return relax.op.astype(call, FLOAT32) if self._is_other(call.ty) else call
        items = [builder.emit(relax.TupleGetItem(call, place)) for place in range(len(call.ty.fields))]
        return relax.Tuple(
            [
                builder.emit(relax.op.astype(item, FLOAT32)) if self._is_other(item.ty) else item
                for item in items
            ]
        )

    def _cast_back(self, builder: relax.BlockBuilder, new: relax.Expr, old: relax.Expr) -> relax.Expr:
        if isinstance(old, relax.Tuple):
            pairs = zip(new.fields, old.fields, strict=True)
            return relax.Tuple([self._cast_back(builder, *pair) for pair in pairs])
        if is_constant(old):
            return old
        if isinstance(old, relax.Var) and self._is_other(old.ty):
            return builder.emit(relax.op.astype(new, dtype_of(old)))
        return new


def _dtypes(ty: tvm.ir.Type) -> list[str]:
    """Return the types of the elements of a tensor, or of those of a tuple."""
    if isinstance(ty, relax.TupleType):
        return [dtype for field in ty.fields for dtype in _dtypes(field)]
    return [str(ty.dtype)] if isinstance(ty, relax.TensorType) else []
