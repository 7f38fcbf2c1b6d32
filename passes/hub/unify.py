"""Static modules of one model at several sizes --> one module with its dimensions open.

    x: [1, 511, 384]  reshape(x, [1, 511, 12, 32])
    x: [1, 257, 384]  reshape(x, [1, 257, 12, 32])   -->   x: [1, S, 384]  reshape(x, [1, S, 12, 32])

The modules are walked side by side. They must be alike but for integers, each of which becomes an expression of the
sizes (``fitting``), and for constants that are the first part of a greater one, which become slices of it. So whatever
decides on shapes, an importer or a pass, need not know of anything open: it runs at several sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.sym import Analyzer

from ...errors import TvmqError
from ...ranges import Range
from .fitting import fit
from .graph import (
    bindings_of,
    constant,
    describe_layer,
    is_constant,
    layer_name,
    main_function,
    op_name,
    to_numpy,
    with_layer_name_of,
)
from .open_dims import Sizes, points_of, with_ranges

Where = Callable[[], str]
"""Says where in the model something is, as the middle of a message."""


def over_sizes(make: Callable[[Sizes], tvm.IRModule], ranges: Mapping[str, Range]) -> tvm.IRModule:
    """Return the open module of what ``make`` gives for sizes within the ranges, and beyond where those are short.

    Raises
    ------
    TvmqError : what it gives for two sizes differs in more than extents, naming the node.
    """
    first, *others = points_of(ranges)
    mods = [make(first)]
    for sizes in others:
        mods.append(with_constants_of(make(sizes), mods[0]))
    return with_ranges(unify(mods, [first, *others]), ranges)


def unify(mods: Sequence[tvm.IRModule], points: Sequence[Sizes]) -> tvm.IRModule:
    """Return one module for static ones of one function ``main`` each; errors as for ``over_sizes``.

    ``points`` are the sizes of each, as ``fitting.fit`` takes them.
    """
    others = {var: func for var, func in mods[0].functions.items() if var.name_hint != "main"}
    return unify_by(Sides(points, {name: tirx.Var(name, "int64") for name in points[0]}), mods, others)


def unify_by(
    sides: Sides,
    mods: Sequence[tvm.IRModule],
    others: Mapping[tvm.ir.GlobalVar, tvm.ir.BaseFunc] | None = None,
) -> tvm.IRModule:
    """Return one module for several as ``sides`` makes one expression of those of each.

    ``others`` are further functions that it is to have.
    """
    functions = [mod["main"] for mod in mods]
    sides.mods = mods
    params = [
        relax.Var(each[0].name, sides.type([param.ty for param in each], lambda: " of an input"))
        for each in zip(*(function.params for function in functions), strict=True)
    ]
    sides.env.update(zip(functions[0].params, params, strict=True))
    sides.builder = relax.BlockBuilder(tvm.IRModule(dict(others or {}), attrs=mods[0].attrs))
    with main_function(sides.builder, params, functions[0].attrs):
        with sides.builder.dataflow():
            for bindings in _side_by_side(mods):
                sides.bind_value(mods[0], bindings)
            result = sides.expression(
                [function.body.body for function in functions], lambda: " of the result"
            )
            output = sides.builder.emit_output(result)
        sides.builder.emit_func_output(output)
    return sides.builder.get()


def with_constants_of(mod: tvm.IRModule, other: tvm.IRModule) -> tvm.IRModule:
    """Return a module with the constants of another where they are equal, so that memory holds them once."""
    found: dict[relax.Expr, relax.Expr] = {}
    for one, its in zip(bindings_of(mod), bindings_of(other), strict=False):
        for own, wanted in zip(_constants(one.value), _constants(its.value), strict=False):
            if (
                own not in found
                and not own.same_as(wanted)
                and _is_same_array(to_numpy(own), to_numpy(wanted))
            ):
                found[own] = wanted

    def shared(expr: relax.Expr) -> relax.Expr:
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([shared(item) for item in expr.fields])
        if isinstance(expr, relax.Call):
            args = [shared(argument) for argument in expr.args]
            return relax.Call(expr.op, args, expr.attrs, expr.ty_args, span=expr.span)
        return found.get(expr, expr) if is_constant(expr) else expr

    blocks = [
        type(block)([relax.VarBinding(binding.var, shared(binding.value)) for binding in block.bindings])
        for block in mod["main"].body.blocks
    ]
    old = mod["main"]
    mod = mod.clone()
    mod.update_func(
        mod.get_global_var("main"),
        relax.Function(
            old.params, relax.SeqExpr(blocks, old.body.body), old.ret_ty, bool(old.is_pure), old.attrs
        ),
    )
    return relax.transform.Normalize()(mod)


def _constants(expr: relax.Expr) -> list[relax.Expr]:
    """Return the constants that a bound value reads, in order."""
    if is_constant(expr):
        return [expr]
    parts = (
        expr.fields if isinstance(expr, relax.Tuple) else expr.args if isinstance(expr, relax.Call) else []
    )
    return [one for part in parts for one in _constants(part)]


def _side_by_side(mods: Sequence[tvm.IRModule]) -> list[tuple[relax.VarBinding, ...]]:
    every = [bindings_of(mod) for mod in mods]
    if len({len(bindings) for bindings in every}) > 1:
        for together in zip(*every, strict=False):
            if len({op_name(binding.value) for binding in together}) > 1:
                break
        where = describe_layer(mods[0], layer_name(together[0].value))
        raise TvmqError(f"open dimensions: what is computed depends on their sizes{where}")
    return list(zip(*every, strict=True))


@dataclass
class Sides:
    """Expressions of several modules side by side, and the one that stands for them."""

    points: Sequence[Sizes]
    vars: Mapping[str, tirx.Var]
    builder: relax.BlockBuilder | None = None
    env: dict[relax.Var, relax.Var] = field(default_factory=dict)
    mods: Sequence[tvm.IRModule] = ()

    def bind_value(self, mod: tvm.IRModule, bindings: Sequence[relax.VarBinding]) -> None:
        """Emit the value of a binding in each module as one."""
        first = bindings[0]
        where = partial(describe_layer, mod, layer_name(first.value))
        value = self.expression([binding.value for binding in bindings], where)
        if not isinstance(value, relax.Var) and not is_constant(value):
            value = self.builder.emit(value, first.var.name)
            wanted = self.type([binding.var.ty for binding in bindings], where)
            if not _is_same_type(value.ty, wanted):
                raise TvmqError(
                    f"open dimensions: {op_name(first.value)}{where()} gives {_shown(value.ty)}, not {_shown(wanted)}"
                )
        self.env[first.var] = value

    def expression(self, each: Sequence[relax.Expr], where: Where) -> relax.Expr:
        """Return the expression that stands for one of each module."""
        first = each[0]
        if is_constant(first):
            return self._constant(each, where)
        if isinstance(first, relax.Var):
            return self.env[first]
        if isinstance(first, relax.Tuple):
            items = zip(*(one.fields for one in each), strict=True)
            return relax.Tuple([self.expression(item, where) for item in items])
        if isinstance(first, relax.TupleGetItem):
            return relax.TupleGetItem(self.expression([one.tuple_value for one in each], where), first.index)
        if isinstance(first, relax.ShapeExpr):
            return relax.ShapeExpr(self.extents([one.values for one in each], where))
        if isinstance(first, tirx.IntImm):
            return self.extent([int(one) for one in each], where, str(first.ty))
        if isinstance(first, relax.Call):
            return self._call(each, where)
        if isinstance(first, tvm.ir.GlobalVar):
            functions = [mod[one] for mod, one in zip(self.mods, each, strict=True)]
            if not all(tvm_ffi.structural_equal(functions[0], one) for one in functions):
                raise TvmqError(f"open dimensions: a kernel{where()} depends on their sizes")
            return first
        if not all(tvm_ffi.structural_equal(first, one) for one in each):
            raise TvmqError(f"open dimensions: what is computed depends on their sizes{where()}")
        return first

    def _call(self, each: Sequence[relax.Call], where: Where) -> relax.Call:
        first = each[0]
        alike = {(op_name(one), len(one.args)) for one in each}
        if len(alike) > 1 or not all(tvm_ffi.structural_equal(first.attrs, one.attrs) for one in each):
            raise TvmqError(f"open dimensions: {op_name(first)}{where()} depends on their sizes")
        args = [self.expression(arg, where) for arg in zip(*(one.args for one in each), strict=True)]
        if op_name(first) == "relax.strided_slice" and _depends(args[1:]):
            call = relax.op.strided_slice(
                *args, assume_inbound=True
            )  # as it is at all sizes: its type says so
        else:
            call = relax.Call(first.op, args, first.attrs, first.ty_args)
        return with_layer_name_of(call, first)

    def _constant(self, each: Sequence[relax.Expr], where: Where) -> relax.Expr:
        if all(one.same_as(each[0]) for one in each):
            return each[0]
        arrays = [to_numpy(one) for one in each]
        whole = arrays[0]
        if all(_is_same_array(whole, array) for array in arrays):
            return each[0]
        if not all(is_first_part(array, whole) for array in arrays):
            raise TvmqError(f"open dimensions: a constant{where()} depends on their sizes")
        extents = self.extents([array.shape for array in arrays], where)
        axes = [axis for axis, extent in enumerate(extents) if not isinstance(extent, tirx.IntImm)]
        return self.builder.emit(
            relax.op.strided_slice(
                constant(whole), axes, [0] * len(axes), [extents[axis] for axis in axes], assume_inbound=True
            )
        )

    def type(self, each: Sequence[tvm.ir.Type], where: Where) -> tvm.ir.Type:
        """Return the type that stands for one of each module."""
        first = each[0]
        if isinstance(first, relax.TupleType):
            return relax.TupleType(
                [self.type(item, where) for item in zip(*(one.fields for one in each), strict=True)]
            )
        if not isinstance(first, relax.TensorType):
            return first
        if len({str(one.dtype) for one in each}) > 1 or len({len(one.shape) for one in each}) > 1:
            raise TvmqError(f"open dimensions: rank or dtype{where()} depends on their sizes")
        return relax.TensorType(self.extents([one.shape for one in each], where), first.dtype)

    def extents(self, each: Sequence[Sequence], where: Where) -> list[tirx.Expr]:
        """Return the extents that stand for those of each module."""
        if len({len(one) for one in each}) > 1:
            raise TvmqError(f"open dimensions: the rank{where()} depends on their sizes")
        return [self.extent([int(one) for one in every], where) for every in zip(*each, strict=True)]

    def extent(self, values: Sequence[int], where: Where, dtype: str = "int64") -> tirx.Expr:
        """Return the expression that has these values at the points."""
        if len(set(values)) == 1:
            return tirx.IntImm(dtype, values[0])
        form = fit(values, self.points)
        if form is None:
            raise TvmqError(
                f"open dimensions: an extent{where()} is {values[0]} for {_said(self.points[0])}, ..."
            )
        expression = form.expression(self.vars)
        return expression if dtype == "int64" else tirx.Cast(dtype, expression)


def _said(sizes: Sizes) -> str:
    return ", ".join(f"{name} = {size}" for name, size in sizes.items())


def _depends(args: Sequence[relax.Expr]) -> bool:
    return any(
        not isinstance(item, tirx.IntImm)
        for arg in args
        if isinstance(arg, relax.Tuple)
        for item in arg.fields
    )


def _is_same_array(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()


def is_first_part(part: np.ndarray, whole: np.ndarray) -> bool:
    """Tell whether an array is the first part of another along each axis."""
    fits = (
        part.dtype == whole.dtype and part.ndim == whole.ndim and all(np.less_equal(part.shape, whole.shape))
    )
    return bool(fits) and _is_same_array(part, whole[tuple(map(slice, part.shape))])


def _is_same_type(one: tvm.ir.Type, other: tvm.ir.Type) -> bool:
    if isinstance(one, relax.TupleType) and isinstance(other, relax.TupleType):
        return all(map(_is_same_type, one.fields, other.fields))
    if not isinstance(one, relax.TensorType):
        return True
    if not isinstance(one.shape, relax.ShapeExpr) or str(one.dtype) != str(other.dtype):
        return False
    prove = Analyzer().can_prove_equal
    return len(one.shape) == len(other.shape) and all(map(prove, one.shape, other.shape))


def _shown(ty: tvm.ir.Type) -> str:
    return str(ty.shape) if isinstance(ty, relax.TensorType) else "another type"
