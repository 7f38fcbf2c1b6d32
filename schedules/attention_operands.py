"""How an attention kernel reads queries, keys and values: where they came from, if it can.

    permute_dims(reshape(x, (B, S, H, D)), (0, 2, 1, 3))   -->   reshape(x, (B, S, H, D)) in the order "bshd"
    reshape(broadcast_to(keys of fewer heads))             -->   those keys

The leading axes of a product are one batch to it, and batch and heads to the kernel: of all places at which to cut them
the one is taken that leaves the least to be copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

from tvm import relax

from ..passes.hub.graph import layer_name, shape_of
from ..passes.hub.views import Axis, View, broadcast, dense, merged, reshaped, view_of
from ..passes.prepare.rewriting import Scope
from ..passes.realize.compute.attention import HEADS_FIRST, ORDERS


@dataclass(frozen=True)
class Matrices:
    """A query, key or value: a matrix for each element of the leading axes.

    Attributes
    ----------
    value : operand of the product, ``[.., rows, depth]``, or ``[.., depth, rows]`` where ``is_transposed``.
    lead : the product's leading axes, to which its own broadcast.
    view : where its elements come from, with the axes ``[*lead, rows, depth]``.
    """

    value: relax.Expr
    is_transposed: bool
    lead: tuple[int, ...]
    view: View

    @classmethod
    def of(
        cls, scope: Scope, value: relax.Expr, lead: tuple[int, ...], is_transposed: bool = False
    ) -> Matrices:
        """Return an operand of a product with these leading axes."""
        view = view_of(scope.definition, value)
        axes = broadcast(view.axes, (*lead, *shape_of(value)[-2:]))
        if is_transposed:
            axes = (*axes[:-2], axes[-1], axes[-2])
        return cls(value, is_transposed, lead, View(view.source, axes))

    def grouped(self, batch: int) -> tuple[int, int, int, int]:
        """Return batch, heads, rows and depth."""
        sizes = shape_of(self.value)[-2:]
        rows, depth = sizes[::-1] if self.is_transposed else sizes
        return batch, math.prod(self.lead) // batch, rows, depth


@dataclass(frozen=True)
class Reading:
    """The source of matrices, as a tensor of four axes.

    Attributes
    ----------
    order : of its axes.
    shape : in that order.
    share : how many heads of the query read each of its heads.
    """

    order: str
    shape: tuple[int, ...]
    share: int = 1


def reading(matrices: Matrices, batch: int, shares: bool = False) -> Reading | None:
    """Return how to read matrices where they came from; None where they have to be copied.

    Parameters
    ----------
    batch : into how many the leading axes are cut; the rest are heads.
    shares : whether several heads may read one.
    """
    groups = reshaped(matrices.view.axes, matrices.grouped(batch))
    if groups is None:
        return None
    axes, share = dict(zip(HEADS_FIRST, groups, strict=True)), 1
    if shares and axes["h"] and axes["h"][-1].stride == 0:
        share = axes["h"][-1].extent
        axes["h"] = axes["h"][:-1]
    for order in ORDERS:
        shape = tuple(_extent(axes[name]) for name in order)
        if dense(shape) == tuple(axes[name] for name in order):
            return Reading(order, shape, share)
    return None


def _extent(axis: Axis) -> int:
    return math.prod(part.extent for part in axis)


def cuts(operands: Sequence[Matrices]) -> Iterator[int]:
    """Yield the batches into which leading axes may be cut, the natural one first: all but the last are batch."""
    lead = operands[0].lead
    yield math.prod(lead[:-1])
    yield from accumulate(lead, mul, initial=1)
    for matrices in operands:
        parts = merged([part for axis in matrices.view.axes[:-2] for part in axis])
        yield from accumulate([part.extent for part in parts], mul, initial=1)


def read(scope: Scope, matrices: Matrices, batch: int, found: Reading | None) -> tuple[relax.Expr, str]:
    """Return the tensor of four axes to read, and their order: the source's, or a copy's where there is no reading."""
    name = layer_name(scope.definition(matrices.value))
    if found is not None:
        return _in_shape(scope, matrices.view.source, found.shape, name), found.order
    copied, own = matrices.value, shape_of(matrices.value)
    if own[:-2] != matrices.lead:
        copied = scope.emit(relax.op.broadcast_to(copied, (*matrices.lead, *own[-2:])), name)
    if matrices.is_transposed:
        last = len(matrices.lead) + 1
        copied = scope.emit(relax.op.permute_dims(copied, [*range(last - 1), last, last - 1]), name)
    return _in_shape(scope, copied, matrices.grouped(batch), name), HEADS_FIRST


def _in_shape(scope: Scope, value: relax.Expr, shape: tuple[int, ...], name: str) -> relax.Expr:
    return value if shape_of(value) == shape else scope.emit(relax.op.reshape(value, shape), name)
