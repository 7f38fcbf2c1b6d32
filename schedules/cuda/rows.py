"""Kernels that work row by row: softmax, normalizations, and reductions of the last axes.

    most = max(row)    total = sum(exp(row - most))    result[i] = exp(row[i] - most) / total

A warp, or for long rows a block, has a row. Its threads share each reduction of the row out, and add up what they have
by shuffles, after which all of them know it; in between nothing goes to memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import tirx
from tvm.ir.expr import TensorLoad
from tvm.script.ir_builder import tirx as T
from tvm.sym import Analyzer

from ...targets.cuda.calls import device_call
from ..blocks import item_bytes
from ..space import Decide
from .definition import Step, loads, substituted
from .threads import over, write
from .vectors import VECTOR_BYTES, Lane, analyzer_of, flat_index, loaded_ahead, place_of, uses
from .warps import SHUFFLED, WARP, combine_lanes

WARPS = 4
"""Of a block, unless tuning finds better."""

OTHER_WARPS = (1, 2, 8, 16)
"""What tuning tries besides."""

LONG_ROW = 1024
"""Terms from which on a whole block has a row."""

SHORT_ROW = 16
"""Terms up to which a thread adds a row by itself."""


@dataclass(frozen=True)
class Rows:
    """What a kernel does with each row.

    Attributes
    ----------
    reductions : of a row, each after those that it reads.
    result : the step that is written.
    scalars : other results, of which a row has a number each; ``result`` may read them.
    axes : of the result's axes those that number the rows; the others lie within a row.
    """

    reductions: tuple[Step, ...]
    result: Step
    axes: tuple[tirx.Var, ...]
    scalars: tuple[Step, ...] = ()

    @property
    def numbers(self) -> tuple[Step, ...]:
        """All of which a row has one, each after those that it reads."""
        return (*self.reductions, *self.scalars)

    @property
    def count(self) -> int:
        return math.prod(self._extent(axis) for axis in self.axes)

    @property
    def inner(self) -> list[tuple[tirx.Var, int]]:
        """The axes within a row, with their extents."""
        return [(axis, self._extent(axis)) for axis in self.result.axes if axis not in self.axes]

    def _extent(self, axis: tirx.Var) -> int:
        return self.result.extents[list(self.result.axes).index(axis)]

    def extents(self) -> list[int]:
        return [self._extent(axis) for axis in self.axes]


def rows_of(reductions: Sequence[Step], result: Step, scalars: Sequence[Step] = ()) -> Rows | None:
    """Return what a kernel of rows computes; None where the steps do not go row by row."""
    if any(str(step.buffer.dtype) not in SHUFFLED for step in reductions) or not reductions:
        return None
    variables: list[tirx.Var] = []
    for load in loads(result):
        if any(load.source.same_as(step.buffer) for step in (*reductions, *scalars)):
            variables += [
                axis for axis in result.axes if axis not in variables and uses_any(load.indices, axis)
            ]
    axes = tuple(axis for axis in result.axes if axis in variables)
    rows = Rows(tuple(reductions), result, axes, tuple(scalars))
    known = dict(zip(result.axes, result.extents, strict=True))
    places = _places(rows, analyzer_of(known))
    if places is None or rows.count < max(step.size for step in reductions) // 2:
        return None
    if not all(_runs_along(step, places[step.buffer], known) for step in reductions):
        return None
    return rows


def uses_any(index: Sequence[tirx.Expr], axis: tirx.Var) -> bool:
    return any(uses(place, [axis]) for place in index)


def _places(rows: Rows, analyzer: Analyzer) -> dict[tirx.Buffer, list[tirx.Expr]] | None:
    """Return where the reductions of a row lie, by the result's axes; None where a row reads those of others."""
    places: dict[tirx.Buffer, list[tirx.Expr]] = {}
    for reader in (rows.result, *reversed(rows.numbers)):
        own = dict(zip(reader.axes, places.get(reader.buffer, reader.axes), strict=True))
        for load in loads(reader):
            if not any(load.source.same_as(step.buffer) for step in rows.numbers):
                continue
            place = [analyzer.simplify(substituted(each, own)) for each in load.indices]
            if any(uses(each, reader.taps) for each in place):
                return None
            known = places.setdefault(load.source, place)
            if not all(analyzer.can_prove_equal(one, other) for one, other in zip(known, place, strict=True)):
                return None
    return places if len(places) == len(rows.numbers) else None


def _runs_along(reduction: Step, place: Sequence[tirx.Expr], known: dict[tirx.Var, int]) -> bool:
    """Tell whether neighbouring terms lie together in memory, so that threads share them out."""
    if reduction.length <= SHORT_ROW:
        return False
    term = tirx.Var("term", "int32")
    lane = Lane(term, reduction.length, analyzer_of({**known, term: reduction.length}))
    value = reduction.at(place, place_of(term, reduction.tap_extents))
    indices = []
    tvm_ffi.structural_walk(
        value, [(TensorLoad, lambda load: indices.append(flat_index(load.source, load.indices)))]
    )
    return any(lane.runs_along(lane.analyzer.simplify(index)) for index in indices if lane.varies(index))


def teams_of(longest: int) -> list[tuple[int, int]]:
    """Return how many warps a block may have, and how many of them a row: one or all. The best come first.

    Parameters
    ----------
    longest : terms of the row's longest reduction; each thread has one at least.
    """
    possible = [(warps, team) for warps in (WARPS, *OTHER_WARPS) for team in sorted({1, warps})]
    usual = (WARPS, WARPS if longest >= LONG_ROW else 1)
    return [usual, *(each for each in possible if each != usual and each[1] * WARP <= longest)]


def emit(rows: Rows, decide: Decide) -> None:
    """Emit the launch of the kernel."""
    warps, team = decide("warps", teams_of(max(step.length for step in rows.reductions)))
    rows_a_block = warps // team
    blocks = -(-rows.count // rows_a_block)
    with (
        T.launch_thread("blockIdx.x", blocks) as block,
        T.launch_thread("threadIdx.x", warps * WARP) as thread,
    ):
        shared = None
        if team > 1:
            shared = T.alloc_buffer((_room(team) * len(rows.reductions),), "uint8", scope="shared.dyn")
        ranges = {block: blocks, thread: warps * WARP}
        _Row(rows, warps, team, block, thread, ranges, shared).emit()


def _room(team: int) -> int:
    """Return the shared memory in which the warps of a row tell each other a number, in bytes: whole loads."""
    return max(VECTOR_BYTES, 4 * team)


class _Row:
    """Emits what the threads of a row do."""

    def __init__(self, rows, warps, team, block, thread, ranges, shared) -> None:
        self.rows, self.team, self.thread, self.ranges, self.shared = rows, team, thread, ranges, shared
        self.threads = team * WARP
        rows_a_block = warps // team
        number = block if team == warps else block * rows_a_block + tirx.floordiv(thread, self.threads)
        self.is_whole = rows.count % rows_a_block == 0
        self.conditions = [] if self.is_whole else [number < rows.count]
        # All warps of the last block work, since they meet in shuffles and barriers; only rows that exist are written.
        number = number if self.is_whole else tirx.min(number, rows.count - 1)
        self.member = thread if team == warps else tirx.floormod(thread, self.threads)
        analyzer = analyzer_of(ranges)
        places = [analyzer.simplify(place) for place in place_of(number, rows.extents())]
        self.axes = dict(zip(rows.axes, places, strict=True))
        self.known: list[tuple[tirx.Buffer, tirx.Buffer]] = []
        known = dict(zip(rows.result.axes, rows.result.extents, strict=True))
        self.places = _places(rows, analyzer_of(known))

    def emit(self) -> None:
        for number, reduction in enumerate(self.rows.reductions):
            self.known.append((reduction.buffer, self.reduced(reduction, number)))
        for scalar in self.rows.scalars:
            self.known.append((scalar.buffer, self.scalar(scalar)))
        self.write()

    def with_known(self, expr: tirx.Expr) -> tirx.Expr:
        """Return an expression with this row's reductions in it."""

        def replaced(load: TensorLoad) -> tirx.Expr:
            return next(
                (tirx.BufferLoad(own, [0]) for buffer, own in self.known if buffer.same_as(load.source)), load
            )

        return tvm_ffi.structural_map(expr, [(TensorLoad, replaced)])

    def scalar(self, step: Step) -> tirx.Buffer:
        """Emit a number of the row, which its first thread writes."""
        place = [substituted(each, self.axes) for each in self.places[step.buffer]]
        own = T.alloc_buffer((1,), str(step.buffer.dtype), scope="local")
        T.buffer_store(own, self.with_known(step.at(place)), [0])
        with T.If(tirx.all(self.member == 0, *self.conditions)), T.Then():
            T.buffer_store(step.buffer, own[0], step.index_at(place))
        return own

    def reduced(self, reduction: Step, number: int) -> tirx.Buffer:
        dtype = str(reduction.buffer.dtype)
        place = [substituted(each, self.axes) for each in self.places[reduction.buffer]]
        start = self.with_known(reduction.start_at(place))
        adds = reduction.combine is tirx.Add
        total = T.alloc_buffer((1,), dtype, scope="local")
        T.buffer_store(total, tirx.const(0, dtype) if adds else start, [0])
        size = min((item_bytes(load.source) for load in loads(reduction)), default=4)
        count = math.gcd(reduction.length, VECTOR_BYTES // size)
        while count > 1 and reduction.length // count < self.threads:
            count //= 2
        steps = -(-reduction.length // (count * self.threads))
        with T.serial(steps) as step:
            term = tirx.Var("lane", "int32")
            first = (step * self.threads + self.member) * count
            lane = Lane(term, count, analyzer_of({**self.ranges, step: steps, term: count}))

            def add() -> None:
                taps = [lane.analyzer.simplify(tap) for tap in place_of(first + term, reduction.tap_extents)]
                value = loaded_ahead(self.with_known(reduction.at(place, taps)), lane)
                over(lane, lambda at: T.buffer_store(total, reduction.combine(total[0], at(value)), [0]))

            if steps * count * self.threads == reduction.length:
                add()
            else:
                with T.If(first < reduction.length), T.Then():
                    add()
        combine_lanes(total, 0, reduction.combine)
        if self.team > 1:
            self.exchange(total, reduction, number)
        if adds and not (isinstance(start, tirx.IntImm | tirx.FloatImm) and start.value == 0):
            T.buffer_store(total, reduction.combine(start, total[0]), [0])
        return total

    def exchange(self, total: tirx.Buffer, reduction: Step, number: int) -> None:
        """Emit how the warps of a row tell each other what they have."""
        first = _room(self.team) * number
        with T.If(tirx.floormod(self.thread, WARP) == 0), T.Then():
            warp = tirx.floordiv(self.thread, WARP)
            device_call("shared_store_4", T.address_of(self.shared[first + 4 * warp]), T.address_of(total[0]))
        device_call("barrier")
        parts = T.alloc_buffer((self.team,), str(total.dtype), scope="local")
        size = min(4 * self.team, VECTOR_BYTES)
        for part in range(0, self.team, size // 4):
            place = self.shared[first + 4 * part]
            device_call(f"shared_load_{size}", T.address_of(parts[part]), T.address_of(place))
        T.buffer_store(total, parts[0], [0])
        for part in range(1, self.team):
            T.buffer_store(total, reduction.combine(total[0], parts[part]), [0])

    def write(self) -> None:
        """Emit the elements of the row, shared out among its threads."""
        result, inner = self.rows.result, self.rows.inner
        extents = [extent for _, extent in inner]
        size = math.prod(extents)
        last = extents[-1] if inner and result.axes[-1].same_as(inner[-1][0]) else 1
        count = math.gcd(last, VECTOR_BYTES // item_bytes(result.buffer))
        while count > 1 and size // count < self.threads:
            count //= 2
        steps = -(-size // (count * self.threads))
        with T.serial(steps) as step:
            var = tirx.Var("lane", "int32")
            first = (step * self.threads + self.member) * count
            lane = Lane(var, count, analyzer_of({**self.ranges, step: steps, var: count}))
            conditions = list(self.conditions)
            if steps * count * self.threads != size:
                conditions.append(first < size)
            places = [lane.analyzer.simplify(place) for place in place_of(first + var, extents)]
            values = {**self.axes, **dict(zip((axis for axis, _ in inner), places, strict=True))}
            index = [values[axis] for axis in result.axes]

            def elements() -> None:
                write(result.buffer, result.index_at(index), self.with_known(result.at(index)), lane)

            if conditions:
                with T.If(tirx.all(*conditions)), T.Then():
                    elements()
            else:
                elements()
