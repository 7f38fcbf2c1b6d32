"""Walking and rebuilding the one dataflow block of a Relax module, which is what every pass here does.

A node's ONNX name travels as the span of its calls; ``rebuild`` keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import GenericConst as Constant  # what relax.const makes

from ...errors import TvmqError
from ...ranges import Range
from .ffi_errors import explained
from .layers import get_layers

OUTPUTS = "tvmq.outputs"
"""Attribute of ``main``: the names of the outputs, a JSON list."""

OPEN = "tvmq.open"
"""Module attribute: the ranges of open dimensions (``open_dims``)."""


def op_name(expr: relax.Expr) -> str:
    """Return the operator's name, such as ``"relax.nn.conv2d"``; empty where ``expr`` is no operator call."""
    if isinstance(expr, relax.Call) and isinstance(expr.op, tvm.ir.Op):
        return expr.op.name
    return ""


def layer_name(expr: relax.Expr) -> str:
    """Return the name of the ONNX node that the call came from; empty where it came from none."""
    span = expr.span
    return str(span.source_name.name) if span is not None else ""


def with_layer_name(call: relax.Call, name: str) -> relax.Call:
    """Return the call as one that came from the ONNX node ``name``."""
    span = tvm.ir.Span(tvm.ir.SourceName(name), 0, 0, 0, 0)
    return relax.Call(call.op, call.args, call.attrs, call.ty_args, span=span)


def with_layer_name_of(call: relax.Call, other: relax.Call) -> relax.Call:
    """Return the call as one that came from the same ONNX node as another; of none where that came from none."""
    return relax.Call(call.op, call.args, call.attrs, call.ty_args, span=other.span)


def is_constant(expr: relax.Expr) -> bool:
    """Tell whether the expression is a constant tensor."""
    return isinstance(expr, Constant)


def constant(value: np.ndarray) -> Constant:
    """Return the array as a constant of its own dtype (``relax.const`` alone narrows 64 bits to 32)."""
    return relax.const(value, str(value.dtype))


def number(value: float) -> Constant:
    """Return a number as a constant, float32 of shape ``()``."""
    return relax.const(value, "float32")


def to_numpy(expr: Constant) -> np.ndarray:
    """Return the constant's value."""
    return expr.value.numpy()


def shape_of(expr: relax.Expr) -> tuple[int, ...]:
    """Return the static shape of a tensor expression; raises ``TvmqError`` where it has an open dimension."""
    return tuple(map(_fixed, expr.ty.shape))


def _fixed(extent: tvm.ir.Expr) -> int:
    if not isinstance(extent, tvm.tirx.IntImm):
        raise TvmqError(f"dimension {str(extent)!r} is open, and here it must have one size")
    return int(extent)


def extents_of(expr: relax.Expr) -> tuple[int | str, ...]:
    """Return the shape of a tensor expression, with the text of what is open: equal extents are equal."""
    return tuple(
        int(extent) if isinstance(extent, tvm.tirx.IntImm) else str(extent) for extent in expr.ty.shape
    )


def dtype_of(expr: relax.Expr) -> str:
    """Return the dtype of a tensor expression."""
    return str(expr.ty.dtype)


def input_specs(mod: tvm.IRModule) -> dict[str, tuple[tuple[int | Range, ...], str]]:
    """Return shape and dtype of each of the model's inputs, by name; an open dimension's extent is its range."""
    attrs = mod.attrs
    ends = json.loads(str(attrs[OPEN])) if attrs is not None and OPEN in attrs else {}

    def extent(value: tvm.ir.Expr) -> int | Range:
        if isinstance(value, tvm.tirx.IntImm):
            return int(value)
        low, high = ends[str(value)]
        return Range(low, high, str(value))

    return {param.name: (tuple(map(extent, param.ty.shape)), dtype_of(param)) for param in mod["main"].params}


def output_names(mod: tvm.IRModule) -> list[str]:
    """Return the names of the outputs: those of the attribute ``tvmq.outputs``, else numbers."""
    function = mod["main"]
    if function.attrs is not None and OUTPUTS in function.attrs:
        return json.loads(str(function.attrs[OUTPUTS]))
    result = function.ret_ty
    count = len(result.fields) if isinstance(result, relax.TupleType) else 1
    return [f"output_{index}" for index in range(count)]


def bindings_of(mod: tvm.IRModule) -> list[relax.VarBinding]:
    """Return the bindings of ``main`` in order.

    Raises
    ------
    TvmqError : a value has a shape that only its data decide, or ``main`` has control flow.
    """
    blocks = mod["main"].body.blocks
    found = [binding for block in blocks for binding in block.bindings]
    name = ""
    for binding in found:
        value = binding.value
        # A cast of the shape comes behind the call whose result it is about, and has no name itself.
        name = layer_name(value) or name if isinstance(value, relax.Call) else name
        where = f"node {name!r}" if name else "an operator"
        if not isinstance(binding, relax.VarBinding):
            raise TvmqError(f"{where} gives a result whose shape depends on its data; shapes must be static")
        if isinstance(value, relax.If):
            raise TvmqError(f"{where} is a branch (If); models with control flow cannot be compiled")
    return found


def results_of(mod: tvm.IRModule) -> list[relax.Expr]:
    """Return what ``main`` gives, one tensor after another: variables, constants, or items of a tuple.

    The tuple may be the result itself or have a name, and that another.
    """
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    result = whole = mod["main"].body.body
    while isinstance(whole, relax.Var) and whole in values:
        whole = values[whole]
    if isinstance(whole, relax.Tuple):
        return list(whole.fields)
    if isinstance(result.ty, relax.TupleType):
        return [relax.TupleGetItem(result, place) for place in range(len(result.ty.fields))]
    return [result]


def tupled(mod: tvm.IRModule) -> tvm.IRModule:
    """Return the module with the tuple of its results as the result, however many they are."""
    return rebuild(mod, lambda builder, var, value: value, result=relax.Tuple(results_of(mod)))


def consumers_of(mod: tvm.IRModule) -> dict[relax.Var, list[relax.Expr]]:
    """Return for each variable the bound values that read it, once for each reading argument.

    The function's result reads its variables too, as the expression that it is.
    """
    readers: dict[relax.Var, list[relax.Expr]] = {}
    body = mod["main"].body

    def note(expr: relax.Expr, reader: relax.Expr) -> None:
        if isinstance(expr, relax.Var):
            readers.setdefault(expr, []).append(reader)
        elif isinstance(expr, relax.Tuple):
            for item in expr.fields:
                note(item, reader)

    for binding in bindings_of(mod):
        value = binding.value
        if isinstance(value, relax.Call):
            for argument in value.args:
                note(argument, value)
        elif isinstance(value, relax.TupleGetItem):
            note(value.tuple_value, value)
        else:
            note(value, value)
    note(body.body, body.body)
    return readers


def activations(value: relax.Expr) -> list[relax.Var]:
    """Return the variables that a bound value reads, in order, with repetition."""
    if isinstance(value, relax.Var):
        return [value]
    if isinstance(value, relax.Tuple):
        return [var for item in value.fields for var in activations(item)]
    if isinstance(value, relax.TupleGetItem):
        return activations(value.tuple_value)
    if isinstance(value, relax.Call):
        return [var for argument in value.args for var in activations(argument)]
    return []


def substitute(expr: relax.Expr, env: dict[relax.Var, relax.Expr]) -> relax.Expr:
    """Return the expression with each variable of ``env`` replaced; spans stay."""
    if isinstance(expr, relax.Var):
        return env.get(expr, expr)
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([substitute(item, env) for item in expr.fields])
    if isinstance(expr, relax.TupleGetItem):
        return relax.TupleGetItem(substitute(expr.tuple_value, env), expr.index)
    if isinstance(expr, relax.Call):
        args = [substitute(argument, env) for argument in expr.args]
        return relax.Call(expr.op, args, expr.attrs, expr.ty_args, span=expr.span)
    return expr


@contextmanager
def main_function(
    builder: relax.BlockBuilder, params: list[relax.Var], attrs: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Open ``main`` as ``builder.function`` does, and close its block too where an error ends it.

    TVM leaves that block open, and says so on standard error when the builder goes.
    """
    with builder.function("main", params, attrs=dict(attrs) if attrs else None):
        try:
            yield
        except BaseException:
            builder._end_block()
            raise


Rewrite = Callable[[relax.BlockBuilder, relax.Var, relax.Expr], relax.Expr]
"""``(builder, old variable, value of rebuilt arguments) -> new value``; it may emit more bindings."""


def describe_layer(mod: tvm.IRModule, name: str) -> str:
    """Return a layer as messages name it: ``" at node 'conv1' (Conv)"``; empty where it has no name."""
    op = next((layer.op for layer in get_layers(mod) if layer.name == name), "")
    return f" at node {name!r}" + (f" ({op})" if op else "") if name else ""


def rebuild(
    mod: tvm.IRModule,
    rewrite: Rewrite,
    params: list[relax.Var] | None = None,
    result: relax.Expr | None = None,
    more: Collection[relax.Expr] = (),
) -> tvm.IRModule:
    """Return the module with each binding of ``main`` rewritten in order.

    Parameters
    ----------
    rewrite : see ``Rewrite``.
    params : replaces the function's parameters, one for one, and what is beyond them is new; None keeps them.
    result : replaces the function's result, in terms of the old variables; None keeps it.
    more : given behind the fields of the result, a tuple: new variables, which ``rewrite`` may add while it runs.
    """
    old = mod["main"]
    params = list(old.params) if params is None else params
    env: dict[relax.Var, relax.Expr] = dict(zip(old.params, params[: len(old.params)], strict=True))

    # The builder would call a second "main" by another name.
    others = {var: func for var, func in mod.functions.items() if var.name_hint != "main"}
    builder = relax.BlockBuilder(tvm.IRModule(others, attrs=mod.attrs))
    with main_function(builder, params, old.attrs):
        with builder.dataflow():
            for binding in bindings_of(mod):
                name = layer_name(binding.value)  # without one, whoever runs the pass looks for the place
                with explained("rewriting", partial(describe_layer, mod, name)) if name else nullcontext():
                    value = rewrite(builder, binding.var, substitute(binding.value, env))
                is_atom = isinstance(value, relax.Var | Constant)
                env[binding.var] = value if is_atom else builder.emit(value)
            whole = substitute(old.body.body if result is None else result, env)
            output = builder.emit_output(relax.Tuple([*whole.fields, *more]) if more else whole)
        builder.emit_func_output(output)
    return builder.get()
