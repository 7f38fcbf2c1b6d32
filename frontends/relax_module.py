"""A Relax module of the user's own, made fit for the passes: names for its operators, and a check of its form."""

from __future__ import annotations

import json

import tvm
from tvm import IRModule, relax

from ..errors import TvmqError
from ..passes.hub.graph import OUTPUTS, bindings_of, layer_name, op_name, rebuild, tupled, with_layer_name
from ..passes.hub.layers import Layer, free_name, get_layers, with_layers
from ..passes.hub.open_dims import ranges_of
from .onnx.importer import is_static


def adopt(mod: IRModule) -> IRModule:
    """Return the module with a layer record for each operator and names for its outputs, where it has none.

    An operator without a span is named after itself, such as ``conv2d`` and ``conv2d_2``; outputs are
    ``output``, or ``output0``, ``output1`` and so on.

    Raises
    ------
    TvmqError : there is no function ``main``, it has control flow, or a shape in it is not static; its result is no
        tensor and no tuple of tensors.
    """
    main = next((func for var, func in mod.functions.items() if var.name_hint == "main"), None)
    if not isinstance(main, relax.Function):
        raise TvmqError("the Relax module has no function 'main'")
    _check(mod)
    if isinstance(main.ret_ty, relax.TupleType):
        mod = tupled(mod)
    if not get_layers(mod):
        mod = _named(mod)
    if mod["main"].attrs is None or OUTPUTS not in mod["main"].attrs:
        mod = tvm.IRModule(mod.functions, attrs=mod.attrs)
        mod["main"] = mod["main"].with_attr(OUTPUTS, json.dumps(_output_names(main.ret_ty)))
    return mod


def _check(mod: IRModule) -> None:
    try:
        bindings = bindings_of(mod)
    except ValueError as error:
        raise TvmqError(f"the Relax module cannot be used: {error}") from error
    if any(isinstance(binding.value, relax.If | relax.Function) for binding in bindings):
        raise TvmqError("the Relax module cannot be used: main has control flow or inner functions")
    is_open = bool(ranges_of(mod))  # as ``load_onnx`` has left it
    for var in [*mod["main"].params, *(binding.var for binding in bindings)]:
        if isinstance(var.ty, relax.TensorType) and not is_static(var.ty) and not is_open:
            raise TvmqError(f"shapes must be static, and {var.name!r} in the Relax module has {var.ty}")
    result = mod["main"].ret_ty
    results = result.fields if isinstance(result, relax.TupleType) else [result]
    if not all(isinstance(each, relax.TensorType) for each in results):
        raise TvmqError("the Relax module cannot be used: main must return a tensor, or a tuple of tensors")


def _named(mod: IRModule) -> IRModule:
    """Name the operators that have no span, and make a record for each name."""
    taken = {layer_name(binding.value) for binding in bindings_of(mod)}
    layers: dict[str, Layer] = {}

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if not isinstance(value, relax.Call):
            return value
        op = op_name(value).split(".")[-1] or "call"
        name = layer_name(value)
        if not name:
            name = free_name(op, taken)
            value = with_layer_name(value, name)
        layers.setdefault(name, Layer(name, op))
        return value

    named = rebuild(mod, rewrite)
    return with_layers(named, list(layers.values()))


def _output_names(kind: tvm.ir.Type) -> list[str]:
    if isinstance(kind, relax.TupleType):
        return [f"output{place}" for place in range(len(kind.fields))]
    return ["output"]
