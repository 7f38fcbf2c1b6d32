"""Views: a value that is another's elements in another order, some of them several times.

    x [B, S, H D]  --reshape, permute_dims, reshape-->  [B H, S, D]
    is, of x:   ((B, S H D), (H, D)),   ((S, H D),),   ((D, 1),)

An axis is a list of *parts*, each an extent and a stride in elements of the source: transpositions bring parts together
that lie apart, and a reshape joins them. A part of stride 0 is what ``broadcast_to`` repeats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tvm import relax

from .graph import op_name, shape_of


@dataclass(frozen=True)
class Part:
    """``extent`` elements, each ``stride`` elements behind the one before it."""

    extent: int
    stride: int


Axis = tuple[Part, ...]
"""Outermost part first; an axis of one element has none."""


@dataclass(frozen=True)
class View:
    """A value as elements of another.

    Attributes
    ----------
    source : the other, whose elements lie in the order of its axes.
    axes : the value's.
    """

    source: relax.Expr
    axes: tuple[Axis, ...]


def view_of(definition: Callable[[relax.Expr], relax.Expr], value: relax.Expr) -> View:
    """Return a value as a view of what it is made of by operators that only move elements.

    Parameters
    ----------
    definition : gives the call that a variable is bound to.
    """
    calls = [value]
    while op_name(call := definition(calls[-1])) in MOVES:
        calls.append(call.args[0])
    source = calls.pop()
    axes: tuple[Axis, ...] | None = dense(shape_of(source))
    for moved in reversed(calls):
        call = definition(moved)
        axes = MOVES[op_name(call)](call, axes)
        if axes is None:
            source, axes = moved, dense(shape_of(moved))
    return View(source, axes)


def dense(shape: Sequence[int]) -> tuple[Axis, ...]:
    """Return the axes of a tensor that lies in memory in their order."""
    strides = list(accumulate(reversed(shape[1:]), lambda x, y: x * y, initial=1))[::-1]
    return tuple(merged([Part(extent, stride)]) for extent, stride in zip(shape, strides, strict=False))


def merged(parts: Sequence[Part]) -> Axis:
    """Return the parts with those joined that follow each other in memory too."""
    joined: list[Part] = []
    for part in parts:
        if part.extent == 1:
            continue
        if joined and joined[-1].stride == part.stride * part.extent:
            part = Part(joined.pop().extent * part.extent, part.stride)
        joined.append(part)
    return tuple(joined)


def reshaped(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[Axis, ...] | None:
    """Return the axes of another shape of as many elements; None where a part would have to be cut unevenly."""
    left = list(merged([part for axis in axes for part in axis]))[::-1]
    result = []
    for extent in shape:
        own: list[Part] = []
        while extent > 1:
            part = left.pop() if left else Part(1, 0)
            taken = math.gcd(extent, part.extent)
            if taken not in (extent, part.extent) or taken == 1:
                return None
            if taken < part.extent:
                left.append(Part(part.extent // taken, part.stride))
            own.append(Part(taken, part.stride * (part.extent // taken)))
            extent //= taken
        result.append(merged(own))
    return None if left else tuple(result)


def permuted(axes: Sequence[Axis], order: Sequence[int]) -> tuple[Axis, ...]:
    """Return the axes in another order."""
    return tuple(axes[place] for place in order)


def broadcast(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[Axis, ...]:
    """Return the axes repeated to a shape to which theirs broadcasts."""
    axes = ((),) * (len(shape) - len(axes)) + tuple(axes)
    return tuple(
        axis if axis or extent == 1 else (Part(extent, 0),) for axis, extent in zip(axes, shape, strict=True)
    )


def _permuted_by(call: relax.Call, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    order = range(len(axes))[::-1] if call.attrs.axes is None else [int(axis) for axis in call.attrs.axes]
    return permuted(axes, order)


def _reshaped_by(call: relax.Call, axes: tuple[Axis, ...]) -> tuple[Axis, ...] | None:
    return reshaped(axes, shape_of(call))


def _broadcast_by(call: relax.Call, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    return broadcast(axes, shape_of(call))


MOVES = {
    "relax.broadcast_to": _broadcast_by,
    "relax.expand_dims": _reshaped_by,
    "relax.flatten": _reshaped_by,
    "relax.permute_dims": _permuted_by,
    "relax.reshape": _reshaped_by,
    "relax.squeeze": _reshaped_by,
}
"""What gives the axes behind an operator that only moves elements; none of them for an empty tensor."""
