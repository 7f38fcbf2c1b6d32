"""Phases 1 to 3 for a model with open dimensions: kernels of several sizes become kernels of any.

instances of some sizes  -->  each call's kernel  = a loop over scheduled ones of fixed sizes (``driver``), or
                                                    one of any size (``symbolic``, ``rules``)
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import tvm
import tvm_ffi
from tvm import relax, te, tirx
from tvm.s_tir import SBlock
from tvm.sym import Analyzer

from ...errors import TvmqError
from ...passes.hub.graph import bindings_of, describe_layer, is_constant, layer_name, op_name
from ...passes.hub.unify import Sides, Where, unify_by
from ...passes.realize.compute.annotations import KERNEL
from ...targets.row import TargetRow
from ..cpu.contraction import FAMILIES
from .axes import Axis, axes_of
from .driver import Part, driver
from .instances import Instance, Instances
from .rules import is_made_whole, schedule_any
from .symbolic import bounds_of, unified

logger = logging.getLogger(__name__)

MOST_ROWS = 64
"""Rows of an accumulator from which on a longer part gains nothing."""

VECTOR = 16
"""Length of parts along an axis of vectors."""

ScheduleAll = Callable[[tvm.IRModule], tvm.IRModule]
"""A module of kernels --> the same, scheduled."""


def open_kernels(
    mod: tvm.IRModule, instances: Instances, row: TargetRow, threads: int, schedule_all: ScheduleAll
) -> tvm.IRModule:
    """Return the module of scheduled kernels of any size within the ranges, and a ``main`` that calls them.

    Parameters
    ----------
    mod : the open module that the instances are of.
    threads : how many threads a kernel is to keep busy.
    schedule_all : schedules kernels of fixed sizes.

    Raises
    ------
    TvmqError : a kernel is another one at other sizes, naming the node.
    """
    composer = _Composer(mod, instances, row, threads)
    plans = [composer.plan(position) for position in range(len(instances.samples[0].functions))]
    fixed = {f"part_{number}": func for number, func in enumerate(composer.fixed.values())}
    scheduled = schedule_all(tvm.IRModule(fixed))
    ready = {name: scheduled[name] for name in fixed}
    composer.scheduled = dict(zip(composer.fixed, ready.values(), strict=True))
    mods = [sample.mod for sample in _with_views(instances)]
    sides = _Calls([sample.sizes for sample in instances.samples], composer.vars)
    sides.functions = {
        binding.var: None if plan is None else composer.made(plan)
        for binding, plan in zip(bindings_of(mods[0]), plans, strict=True)
    }
    return unify_by(sides, mods, _others(instances.samples[0].mod, schedule_all))


def _others(mod: tvm.IRModule, schedule_all: ScheduleAll) -> dict[tvm.ir.GlobalVar, tvm.ir.BaseFunc]:
    """Return what the module has beside ``main``, scheduled: the loading of compressed weights."""
    names = [
        var.name_hint
        for var, func in mod.functions.items()
        if isinstance(func, relax.Function) and var.name_hint != "main"
    ]
    if not names:
        return {}
    functions = {var: func for var, func in mod.functions.items() if var.name_hint != "main"}
    kept = relax.transform.DeadCodeElimination(names)(tvm.IRModule(functions))
    return dict(schedule_all(kept).functions.items())


def _with_views(instances: Instances) -> list[Instance]:
    """Return the samples with kernels that move nothing as reshapes, where they move nothing at any size."""
    mods = [relax.transform.RewriteDataflowReshape()(sample.mod) for sample in instances.samples]
    values = [[binding.value for binding in bindings_of(mod)] for mod in mods]
    agreed = all(len({op_name(value) for value in each}) == 1 for each in zip(*values, strict=True))
    if not agreed:
        return instances.samples
    return [replace(sample, mod=mod) for sample, mod in zip(instances.samples, mods, strict=True)]


@dataclass(frozen=True)
class _Plan:
    """How the kernel of a call is made: of parts where there are some, else as one of any size."""

    name: str
    whole: tirx.PrimFunc
    outputs: int
    axes: tuple[Axis, ...] = ()
    parts: tuple[tuple[tirx.PrimFunc, tuple[int, ...]], ...] = ()


class _Composer:
    """Makes the kernel of each call, one for all calls alike."""

    def __init__(self, mod: tvm.IRModule, instances: Instances, row: TargetRow, threads: int) -> None:
        self._mod, self._instances, self._row, self._threads = mod, instances, row, threads
        self.vars = {name: tirx.Var(name, "int64") for name in instances.ranges}
        self._bounds = bounds_of(self.vars, instances.ranges)
        self._points = [sample.sizes for sample in instances.samples]
        self._bindings = [bindings_of(sample.mod) for sample in instances.samples]
        self._plans: dict[tuple, _Plan] = {}
        self._made: dict[int, tuple[str, tirx.PrimFunc]] = {}
        self.fixed: dict[tirx.PrimFunc, tirx.PrimFunc] = {}
        self.scheduled: dict[tirx.PrimFunc, tirx.PrimFunc] = {}

    def plan(self, position: int) -> _Plan | None:
        """Return how the kernel of the call at a position is made; None of what is no call."""
        every = [*self._instances.samples, *self._instances.parts]
        funcs = [one.functions[position] for one in every]
        if funcs[0] is None:
            return None
        shapes = self._constant_shapes(position)
        key = (tuple(funcs), tuple(shapes.items()))
        if key not in self._plans:
            self._plans[key] = self._planned(position, shapes)
        return self._plans[key]

    def _planned(self, position: int, shapes: Mapping[int, tuple[int, ...]]) -> _Plan:
        call = self._bindings[0][position].value
        name = str(call.args[0].name_hint)
        samples = [sample.functions[position] for sample in self._instances.samples]
        whole = unified(samples, self._points, self.vars, self._instances.ranges)
        if whole is None:
            where = describe_layer(self._mod, layer_name(call))
            raise TvmqError(f"open dimensions: the kernel {name}{where} is another one at other sizes")
        axes = axes_of(whole, self._bounds)
        parts = [] if axes is None else self._parts(position, whole, axes)
        whole = _with_shapes(whole, shapes)
        for func, _ in parts:
            self.fixed[func] = func
        if not parts:
            logger.debug("%s is one kernel of any size", name)
        return _Plan(name, whole, len(_listed(call.ty_args[0])), tuple(axes or ()), tuple(parts))

    def _constant_shapes(self, position: int) -> dict[int, tuple[int, ...]]:
        """Return the shape of each argument that is a part of a constant at most sizes, and all of it at the first."""
        every = [bindings[position].value.args[1].fields for bindings in self._bindings]
        found = {}
        for number, whole in enumerate(every[0]):
            if is_constant(whole) and not all(fields[number].same_as(whole) for fields in every):
                found[number] = tuple(int(extent) for extent in whole.ty.shape)
        return found

    def _parts(
        self, position: int, whole: tirx.PrimFunc, axes: Sequence[Axis]
    ) -> list[tuple[tirx.PrimFunc, tuple[int, ...]]]:
        parts = self._instances.parts
        if not parts or any(size != 1 for size in parts[-1].sizes.values()):
            return []
        found = [(func, _extents(func, whole, axes)) for func in (part.functions[position] for part in parts)]
        single, shortest = found[-1]
        if not axes:
            return [(single, ())]
        if is_made_whole(single, self._row):
            return []
        if not all(_divides(axis.extent, extent) for axis, extent in zip(axes, shortest, strict=True)):
            return []
        along_last = {
            extents[-1]: (func, extents) for func, extents in found if extents[:-1] == shortest[:-1]
        }
        kept: list[tuple[tirx.PrimFunc, tuple[int, ...]]] = []
        for length in _lengths(single, whole, axes[-1], shortest[-1], sorted(along_last, reverse=True)):
            kept.append(along_last[length])
        return kept

    def made(self, plan: _Plan) -> tuple[str, tirx.PrimFunc]:
        """Return name and function of a kernel."""
        if id(plan) not in self._made:
            vars = list(self.vars.values())
            if not plan.parts:
                func = _with_sizes(
                    schedule_any(plan.whole, self._row, self._bounds, self._threads), plan.outputs, vars
                )
            elif not plan.axes:
                func = self.scheduled[plan.parts[0][0]]
            else:
                parts = [Part(self.scheduled[func], extents) for func, extents in plan.parts]
                func = _with_sizes(driver(plan.whole, plan.axes, parts), plan.outputs, vars)
            self._made[id(plan)] = plan.name, func
        return self._made[id(plan)]


def _extents(func: tirx.PrimFunc, whole: tirx.PrimFunc, axes: Sequence[Axis]) -> tuple[int, ...]:
    """Return how long a kernel of fixed size is along each axis."""
    lengths = []
    for axis in axes:
        number, dim = next(
            (number, dim)
            for number, dim in axis.places
            if not isinstance(whole.params[number].shape[dim], tirx.IntImm)
        )
        lengths.append(int(func.params[number].shape[dim]))
    return tuple(lengths)


def _divides(extent: tirx.Expr, length: int) -> bool:
    return Analyzer().can_prove_equal(extent % length, 0)


def _lengths(
    single: tirx.PrimFunc, whole: tirx.PrimFunc, axis: Axis, shortest: int, lengths: Sequence[int]
) -> list[int]:
    """Return which lengths of parts are worth their code, the largest first.

    Parts of what multiplies by weights are as long as a register tile has use for. All else has no use for longer ones,
    unless the axis is that of vectors.
    """
    rows = _rows_of(single)
    if rows:
        kept = [length for length in lengths if length // shortest * rows <= MOST_ROWS]
    elif axis.places[-1] == (len(whole.params) - 1, len(whole.params[-1].shape) - 1):
        kept = [length for length in lengths if length // shortest == VECTOR]
    else:
        kept = []
    kept = list(dict.fromkeys([*kept, shortest]))
    return [length for length, before in zip(kept, [kept[0], *kept], strict=False) if before % length == 0]


def _rows_of(func: tirx.PrimFunc) -> int:
    """Return how many rows the accumulator of a kernel has; 0 without one."""
    found: list[int] = []

    def note(block: SBlock) -> None:
        if KERNEL in block.annotations and str(block.annotations[KERNEL]) in FAMILIES:
            shape = [int(extent) for extent in block.writes[0].source.shape]
            found.append(math.prod(shape[:-2]))

    tvm_ffi.structural_walk(func.body, [(SBlock, note)])
    return max(found, default=0)


def _with_shapes(func: tirx.PrimFunc, shapes: Mapping[int, tuple[int, ...]]) -> tirx.PrimFunc:
    """Return the function with parameters of these shapes, by their numbers."""
    if not shapes:
        return func
    new = {
        func.params[number]: tirx.decl_buffer(shape, func.params[number].dtype, func.params[number].name)
        for number, shape in shapes.items()
    }
    return tvm_ffi.structural_map(func, [(tvm.ir.Var, lambda var: new.get(var, var))])


def _listed(ty: tvm.ir.Type) -> list[tvm.ir.Type]:
    return list(ty.fields) if isinstance(ty, relax.TupleType) else [ty]


def _with_sizes(func: tirx.PrimFunc, outputs: int, vars: Sequence[tirx.Var]) -> tirx.PrimFunc:
    """Return the function with the sizes as parameters, in front of its outputs."""
    params = list(func.params)
    params[len(params) - outputs : len(params) - outputs] = vars
    return tirx.PrimFunc(params, func.body, func.ret_type, func.attrs)


class _Calls(Sides):
    """Calls of kernels side by side."""

    functions: dict[relax.Var, tuple[str, tirx.PrimFunc] | None]
    _reads_parts = False

    def bind_value(self, mod: tvm.IRModule, bindings: Sequence[relax.VarBinding]) -> None:
        self._function = self.functions.get(bindings[0].var)
        super().bind_value(mod, bindings)

    def _call(self, each: Sequence[relax.Call], where: Where) -> relax.Call:
        if op_name(each[0]) != "relax.call_tir":
            return super()._call(each, where)
        name, func = self._function
        var = self.builder.add_func(func, name)
        self._reads_parts = True
        args = self.expression([one.args[1] for one in each], where)
        self._reads_parts = False
        out = self.type([one.ty_args[0] for one in each], where)
        takes_sizes = len(func.params) > len(args.fields) + len(_listed(out))
        sizes = list(self.vars.values()) if takes_sizes else []
        return relax.call_tir(var, relax.Tuple([*args.fields, *sizes]), _listed(out))

    def _constant(self, each: Sequence[relax.Expr], where: Where) -> relax.Expr:
        """Return the greatest of them, which a kernel reads a part of; what is no kernel gets that part."""
        if self._reads_parts or all(one.same_as(each[0]) for one in each):
            return each[0]
        extents = self.extents([one.ty.shape for one in each], where)
        return self.builder.emit(
            self.builder.call_te(lambda whole: te.compute(extents, whole, name="part"), each[0])
        )
