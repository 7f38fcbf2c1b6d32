"""An open model as kernels of several sizes: samples of what is computed, and parts that kernels are composed of."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import tvm
from tvm import relax, tirx

from ...errors import TvmqError
from ...passes.hub.graph import bindings_of, op_name, rebuild, results_of
from ...passes.hub.open_dims import Sizes, at, points_of, ranges_of
from ...passes.hub.unify import with_constants_of
from ...ranges import Range
from ...targets.row import Extents, TargetRow

logger = logging.getLogger(__name__)

LADDER = (64, 16, 8, 4, 2, 1)
"""Sizes of parts, each a divisor of the one before."""

FEW = (16, 1)
"""The same for models that run a few times."""

Named = tuple[tvm.IRModule, list[tuple[str, list[str]]]]
"""Kernels that are not scheduled, and what each call of them computes: ``pipeline.Built.kernels``."""


@dataclass(frozen=True)
class Instance:
    """The kernels of one size.

    Attributes
    ----------
    functions : of each binding of ``main``: the kernel's; None where it is no call of one.
    """

    sizes: Sizes
    mod: tvm.IRModule
    functions: tuple[tirx.PrimFunc | None, ...]

    @classmethod
    def of(cls, sizes: Sizes, mod: tvm.IRModule) -> Instance:
        mod = _with_one_result(mod)
        values = [binding.value for binding in bindings_of(mod)]
        return cls(
            sizes,
            mod,
            tuple(mod[value.args[0]] if op_name(value) == "relax.call_tir" else None for value in values),
        )


def _with_one_result(mod: tvm.IRModule) -> tvm.IRModule:
    """Return the module with one binding for its result: each pass leaves a variable for it, and that another."""
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    result = mod["main"].body.body
    while isinstance(values.get(result), relax.Var):
        result = values[result]
    if isinstance(mod["main"].ret_ty, relax.TupleType):
        result = relax.Tuple(results_of(mod))
    names = [var.name_hint for var, func in mod.functions.items() if isinstance(func, relax.Function)]
    rebuilt = rebuild(mod, lambda builder, var, value: value, result=result)
    return relax.transform.DeadCodeElimination(names)(rebuilt)


@dataclass(frozen=True)
class Instances:
    """Samples at the points of ``open_dims.points_of``, in their order, and parts; all have the same calls.

    Attributes
    ----------
    kernels : as ``pipeline.Built.kernels``, of the first sample.
    """

    ranges: Mapping[str, Range]
    samples: list[Instance]
    parts: list[Instance]
    kernels: list[tuple[str, list[str]]]


def instances_of(
    mod: tvm.IRModule,
    row: TargetRow,
    named: Callable[[tvm.IRModule, TargetRow], Named],
    nameless: Callable[[tvm.IRModule, TargetRow], tvm.IRModule],
    ladder: Sequence[int],
) -> Instances:
    """Return the kernels of an open module at several sizes.

    Parameters
    ----------
    ladder : sizes of parts, the largest first, down to 1.
    named, nameless : make kernels of a static module, for a target whose row says what its extents are.

    Raises
    ------
    TvmqError : what it computes depends on its sizes.
    """
    ranges = ranges_of(mod)
    sample_row, part_row = (dataclasses.replace(row, extents=kind) for kind in (Extents.SAMPLE, Extents.PART))
    first, kernels = named(at(mod, points_of(ranges)[0]), sample_row)

    def instance(sizes: Sizes, own_row: TargetRow) -> Instance:
        made = Instance.of(sizes, nameless(at(mod, sizes), own_row))
        return replace(made, mod=with_constants_of(made.mod, samples[0].mod))

    samples = [Instance.of(points_of(ranges)[0], first)]
    samples += [instance(sizes, sample_row) for sizes in points_of(ranges)[1:]]
    if len({len(sample.functions) for sample in samples}) > 1:
        raise TvmqError("open dimensions: which kernels there are depends on their sizes")
    parts = []
    for sizes in part_sizes(ranges, ladder):
        part = instance(sizes, part_row)
        if _fits(part, samples[0]):
            parts.append(part)
        else:
            logger.debug("kernels at %s differ from those of other sizes, and are no parts", sizes)
    return Instances(ranges, samples, parts, kernels)


def part_sizes(ranges: Mapping[str, Range], ladder: Sequence[int] = LADDER) -> list[Sizes]:
    """Return the sizes of parts: each dimension by itself along the ladder, all others 1."""
    single = dict.fromkeys(ranges, 1)
    sizes = [
        {**single, name: size} for name, one in ranges.items() for size in ladder if 1 < size <= one.high
    ]
    return [*sizes, single]


def _fits(part: Instance, sample: Instance) -> bool:
    """Tell whether two instances have the same calls, of the same constants where those are no shorter."""
    if len(part.functions) != len(sample.functions):
        return False
    pairs = zip(bindings_of(part.mod), bindings_of(sample.mod), strict=True)
    return all(_is_alike(one.value, other.value) for one, other in pairs)


def _is_alike(one: relax.Expr, other: relax.Expr) -> bool:
    if op_name(one) != op_name(other):
        return False
    if op_name(one) != "relax.call_tir":
        return True
    given, wanted = one.args[1].fields, other.args[1].fields
    return len(given) == len(wanted) and all(
        not isinstance(wanted[index], tvm.ir.GenericConst)
        or given[index].same_as(wanted[index])
        or list(given[index].ty.shape) != list(wanted[index].ty.shape)
        for index in range(len(wanted))
    )
