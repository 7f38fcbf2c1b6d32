"""Neighbouring numbers are loaded and stored together, up to 16 bytes at a time.

    for j: use(data[16 t + j])  -->  numbers = 16 bytes at data[16 t];  for j: use(numbers[j])

A thread computes neighbouring elements in a loop over ``lane``. What each lane reads next to the one before it comes
ahead of the loop as whole vectors, under the conditions under which it is read; everything else stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir.expr import Call, TensorLoad
from tvm.script.ir_builder import tirx as T
from tvm.sym import Analyzer

from ...targets.cuda.calls import device_call
from ..blocks import item_bytes
from .definition import substituted
from .narrow import is_choice

VECTOR_BYTES = 16
"""The most that a thread loads or stores at a time."""


@dataclass(frozen=True)
class Lane:
    """A loop over neighbouring elements, which a thread computes by itself.

    Attributes
    ----------
    var, count : its variable, and how many values that has.
    analyzer : knows the ranges of all variables around the loop.
    """

    var: tirx.Var
    count: int
    analyzer: Analyzer

    def at(self, expr: tirx.Expr, place: int) -> tirx.Expr:
        return substituted(expr, {self.var: tirx.const(place, "int32")})

    def runs_along(self, index: tirx.Expr) -> bool:
        """Tell whether an index is that of the first lane plus the lane."""
        return self._is_zero(index - self.at(index, 0) - self.var)

    def varies(self, expr: tirx.Expr) -> bool:
        return uses(expr, [self.var])

    def together(self, index: tirx.Expr, most: int) -> int:
        """Return how many lanes' numbers lie together at aligned places, a power of two that divides the count."""
        first = self.at(index, 0)
        width = math.gcd(self.count, most)
        while width > 1 and not self._is_zero(tirx.floormod(first, width)):
            width //= 2
        return width

    def _is_zero(self, expr: tirx.Expr) -> bool:
        simple = self.analyzer.simplify(expr)
        return isinstance(simple, tirx.IntImm) and int(simple) == 0


def uses(expr: tirx.Expr, variables: Sequence[tirx.Var]) -> bool:
    """Tell whether one of the variables occurs in an expression."""
    found: list[tirx.Var] = []
    tvm_ffi.structural_walk(expr, [(tirx.Var, lambda var: found.append(var) if var in variables else None)])
    return bool(found)


def flat_index(buffer: tirx.Buffer, index: Sequence[tirx.Expr]) -> tirx.Expr:
    """Return the place of an element in memory, in elements."""
    flat: tirx.Expr = tirx.const(0, "int32")
    for extent, place in zip(buffer.shape, index, strict=True):
        flat = flat * int(extent) + place
    return flat


def place_of(flat: tirx.Expr, extents: Sequence[int]) -> list[tirx.Expr]:
    """Return the index of the element with a number, counted over all extents."""
    index: list[tirx.Expr] = []
    for extent in reversed(extents[1:]):
        index.insert(0, tirx.floormod(flat, extent))
        flat = tirx.floordiv(flat, extent)
    return [flat, *index] if extents else []


def loaded_ahead(expr: tirx.Expr, lane: Lane) -> tirx.Expr:
    """Emit loads of what neighbouring lanes read, and return the expression with the loaded numbers."""
    expr = _padded_ahead(expr, lane)
    replacements: list[tuple[TensorLoad, tirx.Expr]] = []
    for load, conditions in _conditional_loads(expr):
        index = flat_index(load.source, load.indices)
        is_whole = str(load.source.scope()) == "global" and not any(map(lane.varies, conditions))
        if not is_whole or not lane.varies(index) or not lane.runs_along(index):
            continue
        if any(tvm_ffi.structural_equal(load, known) for known, _ in replacements):
            continue
        replacements.append((load, _load(load, index, conditions, lane)))

    def replaced(load: TensorLoad) -> tirx.Expr:
        return next((new for old, new in replacements if tvm_ffi.structural_equal(load, old)), load)

    return tvm_ffi.structural_map(expr, [(TensorLoad, replaced)]) if replacements else expr


def _padded_ahead(expr: tirx.Expr, lane: Lane) -> tirx.Expr:
    """Emit loads of what neighbouring lanes read where all of them may, and a number elsewhere.

    if_then_else(inside, data[i + lane], 7)  -->  numbers = 7, 7, ...;  if inside: numbers = data[i], ...
    """
    found: list[tuple[Call, tirx.Expr]] = []

    def note(call: Call):
        if not is_choice(call):
            return None
        condition, load, outside = call.args
        if (
            isinstance(load, TensorLoad)
            and isinstance(outside, tirx.IntImm | tirx.FloatImm)
            and not lane.varies(condition)
            and not any(tvm_ffi.structural_equal(call, known) for known, _ in found)
        ):
            index = flat_index(load.source, load.indices)
            if str(load.source.scope()) == "global" and lane.varies(index) and lane.runs_along(index):
                found.append((call, _load(load, index, [condition], lane, outside)))
        return tvm_ffi.WalkResult.SKIP  # what is inside another choice is read under its condition too

    tvm_ffi.structural_walk(expr, [(Call, note)], order="pre")

    def replaced(call: Call) -> tirx.Expr:
        return next((new for old, new in found if tvm_ffi.structural_equal(call, old)), call)

    return tvm_ffi.structural_map(expr, [(Call, replaced)]) if found else expr


def _load(
    load: TensorLoad,
    index: tirx.Expr,
    conditions: Sequence[tirx.Expr],
    lane: Lane,
    outside: tirx.Expr | None = None,
) -> tirx.Expr:
    """Emit the load of the lanes' numbers, which are ``outside`` where the conditions do not hold."""
    buffer = load.source
    size = item_bytes(buffer)
    width = lane.together(index, VECTOR_BYTES // size)
    numbers = T.alloc_buffer((lane.count,), str(buffer.dtype), scope="local")
    if outside is not None:
        for start in range(lane.count):
            T.buffer_store(numbers, outside, [start])

    def emit() -> None:
        for start in range(0, lane.count, width):
            place = [lane.at(each, start) for each in load.indices]
            if width * size > 1:
                device_call(
                    f"load_const_{width * size}",
                    T.address_of(numbers[start]),
                    T.address_of(buffer[tuple(place)]),
                )
            else:
                T.buffer_store(numbers, buffer[tuple(place)], [start])

    under([lane.at(condition, 0) for condition in conditions], emit)
    return tirx.BufferLoad(numbers, [lane.var])


def under(conditions: Sequence[tirx.Expr], emit) -> None:
    """Emit code that runs where all conditions hold."""
    if not conditions:
        emit()
        return
    with T.If(tirx.all(*conditions)), T.Then():
        emit()


def _conditional_loads(expr: tirx.Expr) -> list[tuple[TensorLoad, tuple[tirx.Expr, ...]]]:
    """Return the loads of an expression, each with the conditions under which its value is used."""
    found: list[tuple[TensorLoad, tuple[tirx.Expr, ...]]] = []

    def collect(part: tirx.Expr, conditions: tuple[tirx.Expr, ...]) -> None:
        def choose(call: Call):
            if not is_choice(call):
                return None
            condition, then, otherwise = call.args
            collect(condition, conditions)
            collect(then, (*conditions, condition))
            collect(otherwise, (*conditions, tirx.Not(condition)))
            return tvm_ffi.WalkResult.SKIP

        def note(load: TensorLoad) -> None:
            found.append((load, conditions))

        tvm_ffi.structural_walk(part, [(Call, choose), (TensorLoad, note)], order="pre")

    collect(expr, ())
    return found


def store_together(
    buffer: tirx.Buffer,
    index: Sequence[tirx.Expr],
    values: tirx.Buffer,
    lane: Lane,
    conditions: Sequence[tirx.Expr] = (),
) -> None:
    """Emit the stores of the lanes' values, ``values[lane]``, to ``buffer[index]``."""
    flat, size = flat_index(buffer, index), item_bytes(buffer)
    width = lane.together(flat, VECTOR_BYTES // size) if lane.runs_along(flat) else 1

    def emit() -> None:
        for start in range(0, lane.count, width):
            place = [lane.at(each, start) for each in index]
            if width * size > 1 and width > 1:
                device_call(
                    f"store_{width * size}", T.address_of(buffer[tuple(place)]), T.address_of(values[start])
                )
            else:
                T.buffer_store(buffer, values[start], place)

    under(conditions, emit)


def analyzer_of(ranges: Mapping[tirx.Var, int]) -> Analyzer:
    """Return an analyzer that knows how many values variables have, from 0 on."""
    analyzer = Analyzer()
    for var, extent in ranges.items():
        analyzer.bind(var, tvm.ir.Range(0, extent))
    return analyzer
