"""Sum, mean, maximum and minimum of float32 over the last axes, a row at a time by the lanes of a vector.

    row  --(whole vectors)-->  by_lane  --(lanes)-->  head
         --(what is left)--->  tail                   result = head op tail

Over other axes a plain reduction will do: its vectors go along the last axis.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tvm import relax, te, tirx

from ..passes.hub.graph import dtype_of, op_name, shape_of
from ..passes.hub.packing import ceil_div
from ..passes.realize.compute.annotations import ROWS


@dataclass(frozen=True)
class Reduction:
    """What combines two numbers, what leaves them as they are, and whether the result is divided by their count."""

    combine: Callable[[tirx.Expr, tirx.Expr], tirx.Expr]
    start: float
    is_mean: bool = False

    @property
    def reducer(self) -> Callable[..., tirx.Expr]:
        """TE's, from ``start``; TVM's own starts from the largest number, which a row of infinities does not reach."""
        return te.comm_reducer(lambda x, y: self.combine(x, y), lambda dtype: tirx.const(self.start, dtype))


REDUCTIONS: dict[str, Reduction] = {
    "relax.max": Reduction(tirx.max, -math.inf),
    "relax.min": Reduction(tirx.min, math.inf),
    "relax.sum": Reduction(operator.add, 0.0),
    "relax.mean": Reduction(operator.add, 0.0, is_mean=True),
}


def legalize_reduction(
    builder: relax.BlockBuilder, call: relax.Call, *, lanes: int, any_extent: bool = False
) -> relax.tirx.Expr:
    """Legalize a reduction of ``REDUCTIONS``; ``any_extent`` says that its shape is a sample of any."""
    from tvm.ir import Op

    shape, name, dtype = shape_of(call.args[0]), op_name(call), dtype_of(call.args[0])
    # TVM's own maximum is wrong for any float, its sums are not.
    is_own = dtype == "float32" or (dtype.startswith("float") and math.isinf(REDUCTIONS[name].start))
    if not is_own or 0 in shape:
        return Op.get(name).get_attr("FLegalize")(builder, call)
    rank = len(shape)
    given = call.attrs.axis
    axes = sorted(range(rank) if given is None else (int(axis) % rank for axis in given))
    if not axes:
        return call.args[0]  # of no axis, as of a scalar
    reduction = REDUCTIONS[name]
    is_last = (
        dtype == "float32"
        and axes == list(range(rank - len(axes), rank))
        and (any_extent or math.prod(shape[axes[0] :]) >= 2 * lanes)
    )
    define = partial(_over_rows, any_extent=any_extent) if is_last else _over_axes

    def result(data: te.Tensor) -> te.Tensor:
        return define(data, axes, bool(call.attrs.keepdims), reduction, lanes)

    return builder.call_te(result, call.args[0], primfunc_name_hint=name.split(".")[-1])


def _over_axes(
    data: te.Tensor, axes: Sequence[int], keepdims: bool, reduction: Reduction, lanes: int
) -> te.Tensor:
    """Return the reduction of any axes in one block."""
    steps = {axis: te.reduce_axis((0, data.shape[axis])) for axis in axes}
    kept = [axis for axis in range(len(data.shape)) if keepdims or axis not in steps]

    def element(*at: tirx.Expr) -> tirx.Expr:
        place = dict(zip(kept, at, strict=True))
        index = (steps.get(axis, place.get(axis)) for axis in range(len(data.shape)))
        return reduction.reducer(data(*index), axis=[*steps.values()])

    whole = te.compute([1 if axis in steps else data.shape[axis] for axis in kept], element, name="reduced")
    if not reduction.is_mean:
        return whole
    share = tirx.const(1 / math.prod(int(data.shape[axis]) for axis in axes), "float32")
    return te.compute(whole.shape, lambda *at: whole(*at) * share, name="mean")


def _over_rows(
    data: te.Tensor,
    axes: Sequence[int],
    keepdims: bool,
    reduction: Reduction,
    lanes: int,
    any_extent: bool,
) -> te.Tensor:
    """Return the reduction of the last axes, row by row; in whole vectors alone where their extent may be any."""
    lead = [int(extent) for extent in data.shape[: axes[0]]]
    extents = [int(extent) for extent in data.shape[axes[0] :]]
    length, attrs = math.prod(extents), {ROWS: len(lead)}
    groups = ceil_div(length, lanes) if any_extent else length // lanes

    def number(row: Sequence[tirx.Expr], place: tirx.Expr) -> tirx.Expr:
        """Return the number at a place of the row, counted over all of its axes."""
        index: list[tirx.Expr] = []
        is_inside = place < length
        for extent in reversed(extents[1:]):
            index.insert(0, place % extent)
            place = place // extent
        value = data(*row, place, *index)
        start = tirx.const(reduction.start, "float32")
        return tirx.if_then_else(is_inside, value, start) if any_extent else value

    group, lane = te.reduce_axis((0, groups), "group"), te.reduce_axis((0, lanes), "lane")
    by_lane = te.compute(
        (*lead, lanes),
        lambda *at: reduction.reducer(number(at[:-1], group * lanes + at[-1]), axis=[group]),
        name="by_lane",
        attrs=attrs,
    )
    parts = [
        te.compute(
            lead, lambda *row: reduction.reducer(by_lane(*row, lane), axis=[lane]), name="head", attrs=attrs
        )
    ]
    if length % lanes and not any_extent:
        rest = te.reduce_axis((0, length % lanes), "rest")

        def last(*row: tirx.Expr) -> tirx.Expr:
            return reduction.reducer(number(row, groups * lanes + rest), axis=[rest])

        parts.append(te.compute(lead, last, name="tail", attrs=attrs))

    def whole(*at: tirx.Expr) -> tirx.Expr:
        head, *tail = (part(*at[: len(lead)]) for part in parts)
        total = reduction.combine(head, *tail) if tail else head
        return total * tirx.const(1 / length, "float32") if reduction.is_mean else total

    return te.compute([*lead, *[1] * len(axes)] if keepdims else lead, whole, name="result", attrs=attrs)
