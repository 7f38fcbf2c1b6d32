"""Operands of products: lines of numbers along the inner product, and how their pieces are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tvm_ffi
from tvm import tirx
from tvm.ir.expr import TensorLoad

from .narrow import is_choice
from .vectors import Lane, analyzer_of, flat_index

PIECE = 16
"""Bytes of a line that stay together."""

Element = Callable[[tirx.Expr, tirx.Expr], tirx.Expr]
"""``(line, place in the inner product) -> number``."""


@dataclass(frozen=True)
class Operand:
    """Numbers by line and place.

    Attributes
    ----------
    at : the number of a line at a place.
    lines, length : how many lines there are, and places in each.
    item : bytes of a number.
    ranges : of the variables that occur in it.
    beyond : what stands for 0 behind the last place.
    """

    at: Element
    lines: int
    length: int
    item: int
    ranges: Mapping[tirx.Var, int]
    beyond: int = 0

    def piece(self) -> Piece:
        """Return the widest pieces in which it can be copied from memory, or else computed."""
        width = PIECE // self.item
        while width * self.item >= 4:
            if self.length % width == 0 and (copied := self._copied(width)) is not None:
                outside = copied.outside if copied.conditions else tirx.const(self.beyond, copied.dtype)
                return Piece(width, True, outside)
            width //= 2
        return Piece(math.gcd(self.length, 4 // self.item), False, None)

    def _copied(self, width: int) -> Copied | None:
        line, piece, var = (tirx.Var(name, "int32") for name in ("line", "piece", "lane"))
        ranges = {**self.ranges, line: self.lines, piece: -(-self.length // width), var: width}
        value, lane = self.at(line, piece * width + var), Lane(var, width, analyzer_of(ranges))
        return copied(value, lane) if is_whole(value, lane) else None


@dataclass(frozen=True)
class Piece:
    """Neighbouring places of a line.

    Attributes
    ----------
    width : how many they are.
    is_copy : their numbers lie together in memory.
    outside : what they are where they are not in memory; None of pieces that are computed.
    """

    width: int
    is_copy: bool
    outside: tirx.Expr | None


@dataclass(frozen=True)
class Copied:
    """A number that is read, ``load``, where all ``conditions`` hold, and is ``outside`` elsewhere."""

    load: TensorLoad
    conditions: list[tirx.Expr]
    outside: tirx.Expr

    @property
    def dtype(self) -> str:
        return str(self.load.ty.dtype)


def copied(value: tirx.Expr, lane: Lane) -> Copied | None:
    """Return what the lanes' numbers are copied from, if they lie together; None where they are computed."""
    outside: tirx.Expr = tirx.const(0, str(value.ty.dtype))
    conditions: list[tirx.Expr] = []
    if is_choice(value):
        condition, value, outside = value.args
        conditions.append(lane.analyzer.simplify(condition))
        if not isinstance(outside, tirx.IntImm | tirx.FloatImm):
            return None
    if not isinstance(value, TensorLoad):
        return None
    load = tirx.BufferLoad(value.source, [lane.analyzer.simplify(lane.at(each, 0)) for each in value.indices])
    return Copied(load, [lane.at(each, 0) for each in conditions], outside)


def is_whole(value: tirx.Expr, lane: Lane) -> bool:
    """Tell whether the lanes' numbers lie together in memory at aligned places, or all of them outside."""
    if is_choice(value):
        if not _is_one_for_all(value.args[0], lane):
            return False
        value = value.args[1]
    if not isinstance(value, TensorLoad) or not lane.varies(value):
        return isinstance(value, TensorLoad)
    index = flat_index(value.source, value.indices)
    return lane.runs_along(index) and lane.together(index, lane.count) == lane.count


def _is_one_for_all(condition: tirx.Expr, lane: Lane) -> bool:
    """Tell whether a condition is the same for all lanes."""
    condition = lane.analyzer.simplify(condition)
    if not lane.varies(condition):
        return True
    first, last = (lane.analyzer.simplify(lane.at(condition, place)) for place in (0, lane.count - 1))
    return tvm_ffi.structural_equal(first, last)
