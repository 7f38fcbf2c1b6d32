"""Along which axes a kernel can be cut into parts that know nothing of each other.

    for i in S: for j in 384: b[i, j] = a[i, j] + c[j]     -->     S, the first axis of a and b

An axis is what loops and tensors share: a loop that is the index of some dimensions, whatever else they are indexed
by. It can be cut where nothing is summed up along it, no index is computed from it, and only padding asks for a place
on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir.expr import TensorLoad
from tvm.s_tir import SBlock
from tvm.sym import Analyzer

Place = tuple[int, int]
"""A parameter's number, and which of its dimensions."""


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes
    ----------
    extent : of it, in terms of the variables.
    places : the dimensions of parameters that it is.
    """

    extent: tirx.Expr
    places: tuple[Place, ...]


def axes_of(func: tirx.PrimFunc, bounds: Mapping[tirx.Var, tvm.ir.Range]) -> list[Axis] | None:
    """Return the open axes of a function that has no schedule yet; None where it cannot be cut along all of them.

    ``bounds`` are those of the variables.
    """
    shared = _Shared()
    try:
        for block in _blocks(func):
            _Reading(block, shared, bounds)
    except _Bound:
        return None
    axes = []
    places = {(param, dim) for param, dim in shared.dims() if param in list(func.params)}
    groups: dict[object, list[tuple[tirx.Var, int]]] = {}
    for place in places:
        groups.setdefault(shared.root(place), []).append(place)
    numbers = {param: number for number, param in enumerate(func.params)}
    for group in groups.values():
        extents = [param.shape[dim] for param, dim in group if not isinstance(param.shape[dim], tirx.IntImm)]
        if not extents or not all(Analyzer().can_prove_equal(extents[0], other) for other in extents):
            return None
        axes.append(Axis(extents[0], tuple(sorted((numbers[param], dim) for param, dim in group))))
    known = {place for axis in axes for place in axis.places}
    for number, param in enumerate(func.params):
        for dim, extent in enumerate(param.shape):
            if not isinstance(extent, tirx.IntImm) and (number, dim) not in known:
                return None  # nothing reads along it
    return sorted(axes, key=lambda axis: axis.places[-1])


class _Bound(Exception):
    """An axis whose parts depend on each other, or on where they are."""


@dataclass
class _Shared:
    """Sets of loops and dimensions that are one axis."""

    parents: dict[object, object] = field(default_factory=dict)

    def root(self, one: object) -> object:
        while self.parents.setdefault(one, one) != one:
            one = self.parents[one]
        return one

    def join(self, one: object, other: object) -> None:
        self.parents[self.root(one)] = self.root(other)

    def dims(self) -> Iterator[tuple[tirx.Var, int]]:
        return (one for one in self.parents if isinstance(one, tuple))


def _blocks(func: tirx.PrimFunc) -> list[SBlock]:
    found: list[SBlock] = []
    tvm_ffi.structural_walk(func.body, [(SBlock, found.append)])
    return found[:-1]  # the last is the root


class _Reading:
    """What one block does with its open loops."""

    def __init__(self, block: SBlock, shared: _Shared, bounds: Mapping[tirx.Var, tvm.ir.Range]) -> None:
        self._shared = shared
        self._analyzer = Analyzer()
        for var, bound in bounds.items():
            self._analyzer.bind(var, bound)
        self._open: list[tirx.Var] = []
        self._understood = 0
        self._refused = False
        for axis in block.iter_vars:
            self._analyzer.bind(axis.var, axis.dom)
            if not isinstance(axis.dom.extent, tirx.IntImm):
                self._refused |= axis.iter_type != tirx.IterVar.DataPar
                self._open.append(axis.var)
        parts = [block.body] + ([block.init] if block.init is not None else [])
        for part in parts:
            tvm_ffi.structural_walk(
                part,
                [
                    (TensorLoad, lambda load: self._access(load.source, load.indices)),
                    (tirx.BufferStore, lambda store: self._access(store.buffer, store.indices)),
                    (tirx.LT, self._compare),
                    (tvm.ir.Call, self._call),
                ],
            )
        all_uses = sum(_uses(part, self._open) for part in parts)
        roots = {id(shared.root(var)) for var in self._open}
        if self._refused or len(roots) < len(self._open) or self._understood != all_uses:
            raise _Bound

    def _access(self, buffer: tirx.Buffer, indices: Sequence[tirx.Expr]) -> None:
        for dim, index in enumerate(indices):
            self._understood += _uses(index, self._open, within_loads=False)
            place = self._analyzer.simplify(index)
            if any(place.same_as(var) for var in self._open):
                self._shared.join((buffer, dim), place)
            elif not isinstance(buffer.shape[dim], tirx.IntImm) or _uses(
                place, self._open, within_loads=False
            ):
                self._refused = True

    def _compare(self, condition: tirx.LT) -> None:
        """Padding asks whether a row is there: its part of the kernel asks for its own rows."""
        if any(condition.a.same_as(var) for var in self._open) and not isinstance(condition.b, tirx.IntImm):
            self._understood += 1

    def _call(self, call: tvm.ir.Call) -> None:
        """Refuse addresses: nobody knows what lies behind them."""
        name = getattr(call.op, "name", "")
        self._refused |= "ptr" in name or "address" in name


def _uses(part: tirx.Expr | tirx.Stmt, vars: Sequence[tirx.Var], within_loads: bool = True) -> int:
    """Return how often one of the variables stands in an expression or a statement."""
    count = 0

    def visit(var: tirx.Var) -> None:
        nonlocal count
        count += any(var.same_as(one) for one in vars)

    skipped = [] if within_loads else [(TensorLoad, lambda load: tvm_ffi.WalkResult.SKIP)]
    tvm_ffi.structural_walk(part, [*skipped, (tvm.ir.Var, visit)], order="pre")
    return count
