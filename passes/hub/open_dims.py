"""Dimensions that stay open: variables in a module's types, each with its range, and the static modules between them.

    main(x: [1, S, 384])  --(at S = 128)-->  main(x: [1, 128, 384])

The module attribute ``tvmq.open`` has the ranges, a JSON object: ``{"S": [1, 512]}``. A module without it is static.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from itertools import combinations

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.sym import Analyzer

from ...ranges import Range
from .graph import (
    OPEN,
    bindings_of,
    constant,
    is_constant,
    main_function,
    op_name,
    to_numpy,
    with_layer_name_of,
)

BLOCK = 64
"""A multiple of all that lengths are cut into: lanes, tiles, groups."""
LEAST_TOP = 8
SMALL = 37

Sizes = Mapping[str, int]
"""A size of each open dimension, by its name."""


def ranges_of(mod: tvm.IRModule) -> dict[str, Range]:
    """Return the range of each open dimension, by its name; none of a static module."""
    if mod.attrs is None or OPEN not in mod.attrs:
        return {}
    return {name: Range(low, high, name) for name, (low, high) in json.loads(str(mod.attrs[OPEN])).items()}


def with_ranges(mod: tvm.IRModule, ranges: Mapping[str, Range]) -> tvm.IRModule:
    """Return the module as one whose variables have these ranges."""
    ends = {name: [one.low, one.high] for name, one in ranges.items()}
    return mod.with_attr(OPEN, json.dumps(ends))


def variables_of(mod: tvm.IRModule) -> dict[str, tirx.Var]:
    """Return the variables in the types of the inputs, by name."""
    found: dict[str, tirx.Var] = {}
    for param in mod["main"].params:
        for extent in param.ty.shape:
            if isinstance(extent, tirx.Var):
                found.setdefault(extent.name, extent)
    return found


def top_of(ranges: Mapping[str, Range]) -> dict[str, int]:
    """Return the sizes at the upper end of all ranges."""
    return {name: one.high for name, one in ranges.items()}


def greatest_shape(mod: tvm.IRModule, ty: relax.TensorType) -> list[int]:
    """Return the shape of a tensor where every open dimension has its greatest size."""
    sizes = top_of(ranges_of(mod))
    env = {var: tirx.IntImm(var.ty, sizes[name]) for name, var in variables_of(mod).items()}
    return [int(extent) for extent in _bound(ty, env).shape]


def points_of(ranges: Mapping[str, Range]) -> list[dict[str, int]]:
    """Return sizes at which a model is taken apart, so that what depends on a size can be told from what does not.

    The first point has every dimension at its greatest: what is a part of something at other points, such as of a table
    of positions, is all of it there. Others differ from it in one dimension, to sizes that no power of two divides
    alike, or in two.
    """
    lines = {name: _line(one) for name, one in ranges.items()}
    first = {name: line[0] for name, line in lines.items()}
    points = [first]
    points += [{**first, name: size} for name, line in lines.items() for size in line[1:]]
    points += [{**first, one: lines[one][1], two: lines[two][1]} for one, two in combinations(lines, 2)]
    return points


def _line(one: Range) -> list[int]:
    top = max(one.high, LEAST_TOP)
    middle = (top - 2) // BLOCK * BLOCK + 1 if top > BLOCK + 2 else top // 2 + 1
    return list(dict.fromkeys([top, top - 1, middle, min(SMALL, top // 2)]))


def at(mod: tvm.IRModule, sizes: Sizes) -> tvm.IRModule:
    """Return the static module of these sizes; spans and names stay."""
    env = {var: tirx.IntImm(var.ty, sizes[name]) for name, var in variables_of(mod).items()}
    if not env:
        return mod
    bind = partial(_bound, env=env)
    old = mod["main"]
    params = [relax.Var(param.name, bind(param.ty)) for param in old.params]
    values: dict[relax.Var, relax.Expr] = {**env, **dict(zip(old.params, params, strict=True))}
    others = {var: func for var, func in mod.functions.items() if var.name_hint != "main"}
    attrs = {key: value for key, value in (mod.attrs or {}).items() if key != OPEN}
    builder = relax.BlockBuilder(tvm.IRModule(others, attrs=attrs))

    def expression(expr: relax.Expr) -> relax.Expr:
        if isinstance(expr, relax.Var):
            return values[expr]
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([expression(item) for item in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            return relax.TupleGetItem(expression(expr.tuple_value), expr.index)
        if isinstance(expr, relax.Call):
            args = [expression(argument) for argument in expr.args]
            if op_name(expr) == "relax.strided_slice" and is_constant(args[0]):
                return _first_part(*args)
            call = relax.Call(expr.op, args, expr.attrs, [bind(ty) for ty in expr.ty_args])
            return with_layer_name_of(call, expr)
        return bind(expr)

    with main_function(builder, params, old.attrs):
        with builder.dataflow():
            for binding in bindings_of(mod):
                value = expression(binding.value)
                is_atom = isinstance(value, relax.Var) or is_constant(value)
                values[binding.var] = value if is_atom else builder.emit(value, binding.var.name)
            output = builder.emit_output(expression(old.body.body))
        builder.emit_func_output(output)
    return builder.get()


def _first_part(
    whole: relax.Expr, axes: relax.Tuple, begins: relax.Tuple, ends: relax.Tuple, *steps: relax.Tuple
) -> relax.Expr:
    """Return a slice of a constant: passes expect of what is constant that it is one constant."""
    array = to_numpy(whole)
    parts = [slice(None)] * array.ndim
    strides = steps[0].fields if steps else [1] * len(axes.fields)
    for axis, begin, end, stride in zip(axes.fields, begins.fields, ends.fields, strides, strict=True):
        parts[int(axis)] = slice(int(begin), int(end), int(stride))
    return constant(np.ascontiguousarray(array[tuple(parts)]))


def _bound(value: tvm.ir.Type | relax.Expr, env: Mapping[tirx.Var, tirx.IntImm]) -> tvm.ir.Type | relax.Expr:
    """Return a type, a shape or a number with its variables replaced."""
    if isinstance(value, relax.TupleType):
        return relax.TupleType([_bound(item, env) for item in value.fields])
    if isinstance(value, relax.TensorType):
        return relax.TensorType([_bound(extent, env) for extent in value.shape], value.dtype)
    if isinstance(value, relax.ShapeExpr):
        return relax.ShapeExpr([_bound(extent, env) for extent in value.values])
    fixed = tirx.IntImm | tvm.ir.GenericConst | tvm.ir.GlobalVar
    if isinstance(value, tirx.Expr) and not isinstance(value, fixed):
        return Analyzer().simplify(
            tvm_ffi.structural_map(value, [(tvm.ir.Var, lambda var: env.get(var, var))])
        )
    return value
