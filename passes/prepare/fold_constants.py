"""Subgraphs that no input reaches --> their values.

``permute_dims(constant)`` --> ``constant``; ``shape_of(x)``, whose shape is static, --> its shape.

All of them are compiled together, once, by TVM itself, so that folding changes no result. What stays:
``dequantize`` of integers, which holds a quantized weight in the hub, ``quantize`` with parameters that
are still unknown, and calls of a function, which unpack compressed weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.compressed import unpacks
from ..hub.empty import allocate_empty
from ..hub.graph import (
    Constant,
    bindings_of,
    constant,
    is_constant,
    main_function,
    op_name,
    rebuild,
    substitute,
    to_numpy,
)
from ..hub.own_code import compiled
from ..hub.power import legalize_power
from ..hub.scopes import all_without_scopes

NOT_LOWERED = frozenset({"relax.cumprod", "relax.cumsum", "relax.topk"})
"""Operators that TVM's own compilation does not lower; of constants too they are computed by our kernels."""


def _is_value(expr: relax.Expr) -> bool:
    """Tell whether the expression depends on nothing: a constant, a static shape, a number, or a tuple."""
    if isinstance(expr, relax.Tuple):
        return all(_is_value(item) for item in expr.fields)
    if isinstance(expr, relax.ShapeExpr):
        return all(isinstance(extent, tvm.tirx.IntImm) for extent in expr.values)
    return not isinstance(expr, relax.Var | relax.Call | relax.TupleGetItem)


def can_fold(call: relax.Call) -> bool:
    """Tell whether a call whose arguments are all known may be replaced by its value."""
    if op_name(call) == "relax.dequantize" or op_name(call) in NOT_LOWERED:
        return False
    if op_name(call) == "relax.quantize":
        scale = call.args[1]
        return is_constant(scale) and not np.isnan(to_numpy(scale)).any()
    return bool(op_name(call)) and call.op.get_attr("FPurity") is not False


@tvm.transform.module_pass(opt_level=0, name="tvmq.FoldConstants")
@dataclass(frozen=True)
class FoldConstants:
    """Evaluate what no input reaches."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with constants for constant subgraphs."""
        mod = _fold_shapes(mod)
        known = _known_bindings(mod)
        if not known:
            return mod
        values = _evaluate(mod, known)
        mod = rebuild(mod, lambda builder, var, value: values.get(var, value))
        return relax.transform.DeadCodeElimination()(mod)


def _fold_shapes(mod: IRModule) -> IRModule:
    """shape_of(x) --> its static shape; shape_to_tensor(shape) --> an int64 constant."""

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if op_name(value) == "relax.shape_of" and value.args[0].ty.shape is not None:
            return value.args[0].ty.shape
        if op_name(value) == "relax.shape_to_tensor":
            shape = builder.lookup_binding(value.args[0]) if isinstance(value.args[0], relax.Var) else None
            shape = value.args[0] if shape is None else shape
            if isinstance(shape, relax.ShapeExpr) and _is_value(shape):
                return constant(np.array([int(extent) for extent in shape.values], "int64"))
        return value

    return rebuild(mod, rewrite)


def _known_bindings(mod: IRModule) -> list[relax.VarBinding]:
    """Return the bindings whose values depend on no parameter, in order."""
    known: dict[relax.Var, relax.VarBinding] = {}

    def is_known(expr: relax.Expr) -> bool:
        if isinstance(expr, relax.Tuple):
            return all(is_known(item) for item in expr.fields)
        return expr in known if isinstance(expr, relax.Var) else _is_value(expr)

    for binding in bindings_of(mod):
        value = binding.value
        if isinstance(value, relax.Call):
            folds = (
                can_fold(value)
                and not unpacks(mod, value)
                and all(is_known(argument) for argument in value.args)
            )
        elif isinstance(value, relax.TupleGetItem):
            folds = is_known(value.tuple_value)
        else:
            folds = is_known(value)
        if folds:
            known[binding.var] = binding
    return list(known.values())


def _evaluate(mod: IRModule, known: list[relax.VarBinding]) -> dict[relax.Var, Constant]:
    """Compile and run these bindings, and return the tensors among their values."""
    env: dict[relax.Var, relax.Expr] = {}
    others = {var: func for var, func in mod.functions.items() if var.name_hint != "main"}
    builder = relax.BlockBuilder(IRModule(others))
    wanted = [binding.var for binding in known if isinstance(binding.var.ty, relax.TensorType)]
    with main_function(builder, []):
        with builder.dataflow():
            for binding in known:
                env[binding.var] = builder.emit(_in_bounds(substitute(binding.value, env)))
            result = builder.emit_output(relax.Tuple([env[var] for var in wanted]))
        builder.emit_func_output(result)
    legal = relax.transform.LegalizeOps({"relax.power": legalize_power})(builder.get())
    values = compiled(all_without_scopes(allocate_empty(legal)))["main"]()
    return {var: constant(value.numpy()) for var, value in zip(wanted, values, strict=True)}


def _in_bounds(value: relax.Expr) -> relax.Expr:
    """take(data, indices) --> the nearest element for an index out of range, and not whatever memory is there."""
    if op_name(value) != "relax.take" or value.attrs.mode != "fast":
        return value
    return relax.op.take(*value.args, value.attrs.axis, mode="clip")
