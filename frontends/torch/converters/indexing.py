"""Elements taken from places, and put at places, that other tensors say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import relax

from ....passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
from ..scope import Scope
from .moves import slice_


def embedding(s: Scope, weight: relax.Expr, indices: relax.Expr, *training) -> relax.Expr:
    return s.onnx("Gather", weight, indices, axis=0)


def index_select(s: Scope, x: relax.Expr, axis: int, indices: relax.Expr) -> relax.Expr:
    return s.onnx("Gather", x, indices, axis=s.axis(x, axis))


def gather(s: Scope, x: relax.Expr, axis: int, indices: relax.Expr, *sparse) -> relax.Expr:
    return s.onnx("GatherElements", x, indices, axis=s.axis(x, axis))


def scatter(
    s: Scope, x: relax.Expr, axis: int, indices: relax.Expr, source, reduce: str = "none"
) -> relax.Expr:
    """``source`` at places along an axis: a tensor, of which what the indices cover is read, or a number."""
    shape = shape_of(indices)
    if not isinstance(source, relax.Expr):
        source = constant(np.full(shape, source).astype(dtype_of(x)))
    for at, extent in enumerate(shape):
        source = s.emit(slice_(s, source, at, 0, extent))
    return s.onnx("ScatterElements", x, indices, source, axis=s.axis(x, axis), reduction=reduce)


def scatter_add(s: Scope, x: relax.Expr, axis: int, indices: relax.Expr, source: relax.Expr) -> relax.Expr:
    return scatter(s, x, axis, indices, source, "add")


def select_scatter(s: Scope, x: relax.Expr, source: relax.Expr, axis: int, index: int) -> relax.Expr:
    axis = s.axis(x, axis)
    index %= shape_of(x)[axis]
    return slice_scatter(s, x, s.emit(relax.op.expand_dims(source, axis)), axis, index, index + 1)


def slice_scatter(
    s: Scope, x: relax.Expr, source: relax.Expr, axis: int = 0, start: int | None = None,
    end: int | None = None, step: int = 1,
) -> relax.Expr:  # fmt: skip
    """``x`` with ``source`` in place of a slice of it."""
    axis = s.axis(x, axis)
    extent = shape_of(x)[axis]
    places = np.arange(extent)[slice(start, end, step)]
    if len(places) == extent:
        return s.cast(source, dtype_of(x))
    if step == 1 and len(places):
        parts = [
            slice_(s, x, axis, 0, int(places[0])),
            source,
            slice_(s, x, axis, int(places[-1]) + 1, extent),
        ]
        parts = [s.emit(s.cast(part, dtype_of(x))) for part in map(s.emit, parts)]
        return relax.op.concat([part for part in parts if shape_of(part)[axis]], axis)
    shape = shape_of(source)
    spread = places.reshape([-1 if at == axis else 1 for at in range(len(shape))])
    return scatter(s, x, axis, constant(np.broadcast_to(spread, shape).copy()), source)


def index(s: Scope, x: relax.Expr, indices: Sequence[relax.Expr | None]) -> relax.Expr:
    """``x[:, i, j]``: the axes of the indices' common shape stand where they do, or first where they lie apart.

    Raises
    ------
    ValueError : indices that are booleans: how many elements there are, the data decide.
    """
    places = _places(s, x, indices)
    axes = sorted(places)
    if not axes:
        return x
    if len(axes) == 1:
        return s.onnx("Gather", x, places[axes[0]], axis=axes[0])
    shape = np.broadcast_shapes(*(shape_of(each) for each in places.values()))
    rest = [axis for axis in range(len(shape_of(x))) if axis not in places]
    first = s.permute(x, [*axes, *rest])
    found = s.emit(s.onnx("GatherND", first, _stacked(s, [places[axis] for axis in axes], shape)))
    return s.permute(found, _order(axes, rest, len(shape)))


def _order(axes: Sequence[int], rest: Sequence[int], count: int) -> list[int]:
    """Return where each axis of a result comes from: first ``count`` axes of the indices, then the other ones.

    The indices' axes stand where the first indexed one does, if those lie side by side; else in front.
    """
    together = list(axes) == list(range(axes[0], axes[-1] + 1))
    before = sum(axis < axes[0] for axis in rest) if together else 0
    others = [count + at for at in range(len(rest))]
    return [*others[:before], *range(count), *others[before:]]


def index_put(
    s: Scope, x: relax.Expr, indices: Sequence[relax.Expr | None], values: relax.Expr, accumulate: bool = False,
    *unsafe,
) -> relax.Expr:  # fmt: skip
    """``x`` with values at the places that ``index`` would take, or one value where a mask is true."""
    mask = indices[0]
    if len(indices) == 1 and mask is not None and dtype_of(mask) == "bool" and shape_of(values) in ((), (1,)):
        extra = len(shape_of(x)) - len(shape_of(mask))
        mask = s.reshape(mask, (*shape_of(mask), *(1 for _ in range(extra))))
        value = s.cast(s.reshape(values, ()), dtype_of(x))
        if accumulate:
            value = s.emit(relax.op.add(x, value))
        return relax.op.where(mask, value, x)
    places = _places(s, x, indices)
    axes = sorted(places)
    shape = np.broadcast_shapes(*(shape_of(each) for each in places.values()))
    rest = [axis for axis in range(len(shape_of(x))) if axis not in places]
    order = _order(axes, rest, len(shape))
    whole = [*shape, *(shape_of(x)[axis] for axis in rest)]
    spread = tuple(whole[at] for at in order)
    values = s.cast(values, dtype_of(x))
    if shape_of(values) != spread:
        values = s.emit(relax.op.broadcast_to(values, spread))
    values = s.permute(values, np.argsort(order).tolist())
    at = _stacked(s, [places[axis] for axis in axes], shape)
    first = [*axes, *rest]
    put = s.onnx("ScatterND", s.permute(x, first), at, values, reduction="add" if accumulate else "none")
    return s.permute(s.emit(put), np.argsort(first).tolist())


def _places(s: Scope, x: relax.Expr, indices: Sequence[relax.Expr | None]) -> dict[int, relax.Expr]:
    """Return indices by axis, none of them negative."""
    places = {}
    for axis, each in enumerate(indices):
        if each is None:
            continue
        if dtype_of(each) == "bool":
            raise ValueError(
                "it selects by booleans, so its shape depends on its data; shapes must be static"
            )
        places[axis] = _not_negative(s, each, shape_of(x)[axis])
    return places


def _not_negative(s: Scope, places: relax.Expr, extent: int) -> relax.Expr:
    if is_constant(places):
        values = to_numpy(places).astype(np.int64)
        return constant(np.where(values < 0, values + extent, values))
    places = s.cast(places, "int64")
    is_negative = s.emit(relax.op.less(places, s.number(0, "int64")))
    from_the_end = s.emit(relax.op.add(places, s.number(extent, "int64")))
    return s.emit(relax.op.where(is_negative, from_the_end, places))


def _stacked(s: Scope, places: Sequence[relax.Expr], shape: tuple[int, ...]) -> relax.Expr:
    """Return the places of each element as [.., axes]."""
    if all(map(is_constant, places)):
        return constant(np.stack([np.broadcast_to(to_numpy(each), shape) for each in places], -1))
    parts = [
        s.emit(relax.op.broadcast_to(each, shape)) if shape_of(each) != shape else each for each in places
    ]
    return s.emit(relax.op.concat([s.emit(relax.op.expand_dims(each, -1)) for each in parts], -1))
