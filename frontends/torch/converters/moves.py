"""Operators that only move, repeat or select elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from tvm import relax

from ....passes.hub.graph import constant, dtype_of, shape_of
from ..scope import Scope

LAST = 2**62
"""Beyond every axis: how torch says that a slice has no end."""


def view(s: Scope, x: relax.Expr, shape: Sequence[int], *others) -> relax.Expr:
    return s.reshape(x, _without_unknown(shape, shape_of(x)))


def _without_unknown(shape: Sequence[int], of: Sequence[int]) -> list[int]:
    """Return a shape with the extent that -1 stands for."""
    known = int(np.prod([extent for extent in shape if extent != -1], dtype=np.int64))
    total = int(np.prod(of, dtype=np.int64))
    return [total // known if extent == -1 else extent for extent in shape]


def permute(s: Scope, x: relax.Expr, axes: Sequence[int]) -> relax.Expr:
    return s.permute(x, [s.axis(x, axis) for axis in axes])


def transpose(s: Scope, x: relax.Expr, one: int, other: int) -> relax.Expr:
    axes = list(range(len(shape_of(x))))
    if axes:
        one, other = s.axis(x, one), s.axis(x, other)
        axes[one], axes[other] = other, one
    return s.permute(x, axes)


def expand(s: Scope, x: relax.Expr, shape: Sequence[int], implicit: bool = False) -> relax.Expr:
    own = (1,) * (len(shape) - len(shape_of(x))) + shape_of(x)
    wanted = [own[at] if extent == -1 else extent for at, extent in enumerate(shape)]
    return x if tuple(wanted) == shape_of(x) else relax.op.broadcast_to(x, wanted)


def copy(s: Scope, x: relax.Expr, source: relax.Expr, *others) -> relax.Expr:
    """The source in the shape and dtype of what it is copied to."""
    return expand(s, s.cast(source, dtype_of(x)), shape_of(x))


def squeeze(s: Scope, x: relax.Expr, axes: int | Sequence[int] | None = None) -> relax.Expr:
    """Without axes of one element: the ones that are given, or all."""
    extents = shape_of(x)
    given = range(len(extents)) if axes is None else [axes] if isinstance(axes, int) else axes
    gone = {s.axis(x, axis) for axis in given}
    return s.reshape(x, [extent for at, extent in enumerate(extents) if at not in gone or extent != 1])


def unsqueeze(s: Scope, x: relax.Expr, axis: int) -> relax.Expr:
    shape = list(shape_of(x))
    shape.insert(axis % (len(shape) + 1), 1)
    return s.reshape(x, shape)


def cat(s: Scope, tensors: Sequence[relax.Expr], axis: int = 0) -> relax.Expr:
    """Side by side; torch passes over tensors of the shape [0]."""
    parts = [s.cast(each, s.dtype) for each in tensors if shape_of(each) != (0,)]
    if not parts:
        return tensors[0]
    return parts[0] if len(parts) == 1 else relax.op.concat(parts, s.axis(parts[0], axis))


def stack(s: Scope, tensors: Sequence[relax.Expr], axis: int = 0) -> relax.Expr:
    axis %= len(shape_of(tensors[0])) + 1
    parts = [unsqueeze(s, s.cast(each, s.dtype), axis) for each in tensors]
    return parts[0] if len(parts) == 1 else relax.op.concat(parts, axis)


def slice_(
    s: Scope, x: relax.Expr, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> relax.Expr:
    axis = s.axis(x, axis)
    extent = shape_of(x)[axis]
    begin, stop, _ = slice(start, None if end is None or end >= LAST else end, step).indices(extent)
    if (begin, stop, step) == (0, extent, 1):
        return x
    return relax.op.strided_slice(x, [axis], [begin], [max(stop, begin)], [step])


def select(s: Scope, x: relax.Expr, axis: int, index: int) -> relax.Expr:
    axis = s.axis(x, axis)
    index %= shape_of(x)[axis]
    shape = shape_of(x)
    part = s.emit(relax.op.strided_slice(x, [axis], [index], [index + 1]))
    return s.reshape(part, (*shape[:axis], *shape[axis + 1 :]))


def split_with_sizes(s: Scope, x: relax.Expr, sizes: Sequence[int], axis: int = 0) -> tuple[relax.Expr, ...]:
    axis = s.axis(x, axis)
    if len(sizes) == 1:
        return (x,)
    ends = np.cumsum(sizes)[:-1].tolist()
    parts = s.emit(relax.op.split(x, ends, axis))
    return tuple(s.emit(relax.TupleGetItem(parts, at)) for at in range(len(sizes)))


def split(s: Scope, x: relax.Expr, size: int, axis: int = 0) -> tuple[relax.Expr, ...]:
    extent = shape_of(x)[s.axis(x, axis)]
    return split_with_sizes(s, x, [min(size, extent - at) for at in range(0, extent, size)], axis)


def unbind(s: Scope, x: relax.Expr, axis: int = 0) -> tuple[relax.Expr, ...]:
    axis = s.axis(x, axis)
    shape = shape_of(x)
    return tuple(s.reshape(part, (*shape[:axis], *shape[axis + 1 :])) for part in split(s, x, 1, axis))


def flip(s: Scope, x: relax.Expr, axes: Sequence[int]) -> relax.Expr:
    for axis in axes:
        x = s.emit(relax.op.flip(x, s.axis(x, axis)))
    return x


def repeat(s: Scope, x: relax.Expr, repeats: Sequence[int]) -> relax.Expr:
    return x if not repeats else relax.op.tile(x, list(repeats))


def roll(s: Scope, x: relax.Expr, shifts: Sequence[int], axes: Sequence[int] = ()) -> relax.Expr:
    """Along each axis the last ``shift`` elements come first; without axes along the flattened tensor."""
    shape = shape_of(x)
    if not axes:
        x, axes = s.reshape(x, (-1,)), [0]
    for shift, axis in zip(shifts, axes, strict=True):
        axis = s.axis(x, axis)
        extent = shape_of(x)[axis]
        cut = -shift % extent if extent else 0
        if cut:
            parts = [
                s.emit(relax.op.strided_slice(x, [axis], [begin], [end]))
                for begin, end in ((cut, extent), (0, cut))
            ]
            x = s.emit(relax.op.concat(parts, axis))
    return s.reshape(x, shape)


def diagonal(s: Scope, x: relax.Expr, offset: int = 0, one: int = 0, other: int = 1) -> relax.Expr:
    """The elements with ``j = i + offset`` on two axes, as the last axis."""
    shape = shape_of(x)
    one, other = s.axis(x, one), s.axis(x, other)
    rest = [axis for axis in range(len(shape)) if axis not in (one, other)]
    rows, columns = shape[one], shape[other]
    count = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    first = max(offset, 0) - min(offset, 0) * columns
    outer = [shape[axis] for axis in rest]
    flat = s.reshape(s.permute(x, [*rest, one, other]), (*outer, rows * columns))
    places = constant(first + np.arange(count, dtype=np.int64) * (columns + 1))
    return s.onnx("Gather", flat, places, axis=len(outer))


def pixel_shuffle(s: Scope, x: relax.Expr, factor: int) -> relax.Expr:
    """[.., C r r, H, W] --> [.., C, H r, W r]"""
    *outer, channels, rows, columns = shape_of(x)
    count = channels // factor**2
    parts = s.reshape(x, (*outer, count, factor, factor, rows, columns))
    at = len(outer)
    order = [*range(at + 1), at + 3, at + 1, at + 4, at + 2]
    return s.reshape(s.permute(parts, order), (*outer, count, rows * factor, columns * factor))


def pixel_unshuffle(s: Scope, x: relax.Expr, factor: int) -> relax.Expr:
    """[.., C, H r, W r] --> [.., C r r, H, W]"""
    *outer, channels, rows, columns = shape_of(x)
    parts = s.reshape(x, (*outer, channels, rows // factor, factor, columns // factor, factor))
    at = len(outer)
    order = [*range(at + 1), at + 2, at + 4, at + 1, at + 3]
    return s.reshape(
        s.permute(parts, order), (*outer, channels * factor**2, rows // factor, columns // factor)
    )


def pad(mode: str) -> Callable:
    """Return the converter of a padding, whose pads are given from the last axis on, begin and end of each."""

    def convert(s: Scope, x: relax.Expr, pads: Sequence[int], value: float | None = 0) -> relax.Expr:
        rank = len(shape_of(x))
        begins, ends = [0] * rank, [0] * rank
        for at in range(len(pads) // 2):
            begins[rank - 1 - at], ends[rank - 1 - at] = pads[2 * at : 2 * at + 2]
        if not any(pads):
            return x
        number = s.number(0 if value is None else value, dtype_of(x))
        return s.onnx("Pad", x, constant(np.array([*begins, *ends])), number, mode=mode)

    return convert


def triangle(operator: Callable) -> Callable:
    """Return the converter of the upper or lower triangle of matrices."""
    return lambda s, x, diagonal=0: operator(x, diagonal)


def like(s: Scope, shape: Sequence[int], value: float) -> relax.Expr:
    """Return a constant of the node's dtype that is one number everywhere."""
    return constant(np.full(tuple(shape), value).astype(s.dtype))


def full_like(s: Scope, x: relax.Expr, value: float, *others) -> relax.Expr:
    return like(s, shape_of(x), value)


def filled_like(value: float) -> Callable:
    """Return the converter of ones, zeros or whatever in the shape of a tensor."""
    return lambda s, x, *others: like(s, shape_of(x), value)


def new_filled(value: float) -> Callable:
    """Return the converter of ones, zeros or whatever in a shape, in the dtype of a tensor."""
    return lambda s, x, shape, *others: like(s, shape, value)


def new_full(s: Scope, x: relax.Expr, shape: Sequence[int], value: float, *others) -> relax.Expr:
    return like(s, shape, value)


def fill(s: Scope, x: relax.Expr, value: relax.Expr | float) -> relax.Expr:
    if isinstance(value, relax.Expr):
        return relax.op.broadcast_to(s.cast(value, s.dtype), shape_of(x))
    return like(s, shape_of(x), value)
