"""Kernels whose threads have nothing to do with each other: each computes some neighbouring elements of a result.

    element-wise operators, moves and tables; with a reduction that each element has for itself: depthwise convolution,
    pooling, sums along axes that are no rows

A thread has up to 16 bytes of the result, and its sums in registers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir.expr import TensorLoad
from tvm.script.ir_builder import tirx as T

from ...targets.cuda.calls import SHORT_DTYPE, device_call, device_value
from ...targets.row import Gpu
from ..blocks import item_bytes
from ..space import Decide
from .definition import Step, loads, substituted
from .vectors import VECTOR_BYTES, Lane, analyzer_of, flat_index, loaded_ahead, place_of, store_together, uses

DEPTH = 4
"""Products of bytes that are one instruction."""

THREADS = 128
"""Of a block: few enough that small results have several blocks."""

OTHER_THREADS = (64, 256)
"""What tuning tries besides."""

MOST_LOADS = 12
"""Loads of terms that are written out: the compiler has all of them under way at once, in registers."""

SHORT = 8
"""Terms of a loop that the compiler would write out by itself."""


def fits(step: Step, reduction: Step | None) -> bool:
    """Tell whether each element of the step has the reduction for itself, so that none is computed twice."""
    if reduction is None:
        return True
    index = index_in(step, reduction)
    return index is not None and step.size <= 2 * reduction.size


def index_in(step: Step, reduction: Step) -> list[tirx.Expr] | None:
    """Return at which index a step reads a reduction; None where at several."""
    found: list[TensorLoad] = []

    def note(load: TensorLoad) -> None:
        if load.source.same_as(reduction.buffer) and not any(
            tvm_ffi.structural_equal(load, each) for each in found
        ):
            found.append(load)

    tvm_ffi.structural_walk(step.value, [(TensorLoad, note)])
    return list(found[0].indices) if len(found) == 1 else None


def lanes_of(step: Step, gpu: Gpu) -> list[int]:
    """Return how many elements a thread may have, the best first: whole vectors, unless the GPU would idle."""
    last = step.extents[-1] if step.extents else 1
    most = lanes = math.gcd(last, VECTOR_BYTES // item_bytes(step.buffer))
    while lanes > 4 // item_bytes(step.buffer) and step.size // lanes < gpu.multiprocessors * THREADS:
        lanes //= 2
    halves = [most >> shift for shift in range(most.bit_length())]
    return sorted(halves, key=lambda each: (each != max(lanes, 1), -each))


def _threads_of(items: int) -> list[int]:
    """Return how many threads a block may have, the best first, where so many have something to do."""
    return [THREADS, *(count for count in OTHER_THREADS if items > max(count, THREADS) // 2)]


def emit(step: Step, reduction: Step | None, gpu: Gpu, decide: Decide) -> None:
    """Emit the launch of the kernel.

    Parameters
    ----------
    step : what is written.
    reduction : what it reads and nobody else, as ``fits`` tells; None for an element-wise step.
    """
    if reduction is None:
        step = _flat(step)
    count = decide("lanes", lanes_of(step, gpu))
    items = step.size // count
    threads = decide("threads", _threads_of(items))
    blocks = -(-items // threads)
    with T.launch_thread("blockIdx.x", blocks) as block, T.launch_thread("threadIdx.x", threads) as thread:
        lane = tirx.Var("lane", "int32")
        item = block * threads + thread
        index = index_of(item, lane, count, step.extents)
        ranges = {block: blocks, thread: threads, lane: count}
        if items % threads:
            with T.If(item < items), T.Then():
                _elements(step, reduction, index, Lane(lane, count, analyzer_of(ranges)), ranges)
        else:
            _elements(step, reduction, index, Lane(lane, count, analyzer_of(ranges)), ranges)


def _flat(step: Step) -> Step:
    """Return a step that reads each tensor of its shape at an element's own place as one of a single axis."""
    if len(step.axes) < 2 or step.is_part:
        return step
    axis = tirx.Var("element", "int32")
    views: dict[tirx.Buffer, tirx.Buffer] = {}

    def view(buffer: tirx.Buffer) -> tirx.Buffer:
        if buffer not in views:
            views[buffer] = T.decl_buffer((step.size,), str(buffer.dtype), data=buffer.data)
        return views[buffer]

    def replaced(load: TensorLoad) -> TensorLoad:
        alike = [int(extent) for extent in load.source.shape] == list(step.extents)
        if not alike or not all(map(tvm_ffi.structural_equal, load.indices, step.axes)):
            return load
        return tirx.BufferLoad(view(load.source), [axis])

    value = tvm_ffi.structural_map(step.value, [(TensorLoad, replaced)])
    if uses(value, step.axes):
        return step
    return replace(
        step, buffer=view(step.buffer), axes=(axis,), extents=(step.size,), index=(axis,), value=value
    )


def index_of(item: tirx.Expr, lane: tirx.Var, count: int, extents: Sequence[int]) -> list[tirx.Expr]:
    """Return the index of a lane's element: the lanes of an item lie along the last axis, which their count divides.

    Of ``item * count + lane`` TVM could not tell that, where an extent is no power of two.
    """
    if not extents:
        return []
    *outer, first = place_of(item, [*extents[:-1], extents[-1] // count])
    return [*outer, first * count + lane]


def _elements(
    step: Step, reduction: Step | None, index: Sequence[tirx.Expr], lane: Lane, ranges: dict[tirx.Var, int]
) -> None:
    index = [lane.analyzer.simplify(place) for place in index]
    value = element(step, reduction, index, lane, ranges)
    write(step.buffer, [lane.analyzer.simplify(place) for place in step.index_at(index)], value, lane)


def element(
    step: Step,
    reduction: Step | None,
    index: Sequence[tirx.Expr],
    lane: Lane,
    ranges: Mapping[tirx.Var, int],
) -> tirx.Expr:
    """Return the value of each lane's element; emit the reduction that it reads, where there is one."""
    value = step.at(index)
    if reduction is not None:
        values = dict(zip(step.axes, index, strict=True))
        own = [lane.analyzer.simplify(substituted(place, values)) for place in index_in(step, reduction)]
        sums = _reduced(reduction, own, lane, ranges)

        def replaced(load: TensorLoad) -> tirx.Expr:
            return tirx.BufferLoad(sums, [lane.var]) if load.source.same_as(reduction.buffer) else load

        value = tvm_ffi.structural_map(value, [(TensorLoad, replaced)])
    return value


def write(
    buffer: tirx.Buffer,
    index: Sequence[tirx.Expr],
    value: tirx.Expr,
    lane: Lane,
    conditions: Sequence[tirx.Expr] = (),
) -> None:
    """Emit the computation of a value for each lane, and its store."""
    value = loaded_ahead(value, lane)
    results = T.alloc_buffer((lane.count,), str(buffer.dtype), scope="local")
    over(lane, lambda at: T.buffer_store(results, at(value), [at(lane.var)]))
    store_together(buffer, index, results, lane, conditions)


def over(lane: Lane, emit) -> None:
    """Emit something for each lane: ``emit`` gets what puts the loop's variable into an expression."""
    if lane.count == 1:
        emit(lambda expr: lane.at(expr, 0))
        return
    with T.unroll(lane.count) as place:
        emit(
            lambda expr: tvm_ffi.structural_map(
                expr, [(tirx.Var, lambda var: place if var.same_as(lane.var) else var)]
            )
        )


def _reduced(
    reduction: Step, index: Sequence[tirx.Expr], lane: Lane, ranges: Mapping[tirx.Var, int]
) -> tirx.Buffer:
    """Emit the reduction of each lane's element, and return where it is."""
    sums = T.alloc_buffer((lane.count,), str(reduction.buffer.dtype), scope="local")
    start = loaded_ahead(reduction.start_at(index), lane)
    over(lane, lambda at: T.buffer_store(sums, at(start), [at(lane.var)]))
    taps: list[tirx.Var] = []
    extents = reduction.tap_extents
    together = max(1, len(loads(replace(reduction, start=None))))

    def loop_over(axis: int):
        """Return the loop of an axis of the terms: written out where it and those within it load little enough."""
        if together * math.prod(extents[axis:]) <= MOST_LOADS:
            return T.unroll(extents[axis])
        return T.serial(
            extents[axis], annotations={"disable_unroll": True} if extents[axis] <= SHORT else None
        )

    by_dots = _is_by_dots(reduction, lane)

    def inside(axis: int) -> None:
        if axis < len(extents) - by_dots:
            with loop_over(axis) as tap:
                taps.append(tap)
                inside(axis + 1)
            return
        known = analyzer_of({**ranges, **dict(zip(taps, extents, strict=False))})
        if by_dots:
            _add_dots(reduction, index, taps, Lane(lane.var, lane.count, known), sums)
            return
        own = Lane(lane.var, lane.count, known)
        term = loaded_ahead(reduction.at(index, taps), own)

        def add(at) -> None:
            place = at(lane.var)
            T.buffer_store(sums, reduction.combine(sums[place], at(term)), [place])

        over(lane, add)

    inside(0)
    return sums


def _is_by_dots(reduction: Step, lane: Lane) -> bool:
    """Tell whether the innermost terms are products of four bytes, and each four lanes have whole words of them."""
    value = reduction.value
    if reduction.combine is not tirx.Add or not isinstance(value, tirx.Mul) or lane.count % DEPTH:
        return False
    sides = (value.a, value.b)
    are_short = all(isinstance(side, tirx.Cast) and str(side.value.ty.dtype) in SHORT_DTYPE for side in sides)
    return are_short and str(value.ty.dtype) == "int32" and reduction.tap_extents[-1] == DEPTH


def _add_dots(
    reduction: Step, index: Sequence[tirx.Expr], taps: Sequence[tirx.Expr], lane: Lane, sums: tirx.Buffer
) -> None:
    """Emit the products of four numbers of each lane: of data by row, which are turned, and of factors by lane.

    rows[k][lane] * factors[lane][k]  -->  dp4a(turned[lane], factors[lane]) of rows[0..3][4 lanes] --> turned[4 lanes]
    """
    data, factor = (side.value for side in (reduction.value.a, reduction.value.b))
    types = "".join(SHORT_DTYPE[str(side.ty.dtype)] for side in (data, factor))
    names = (*reduction.axes, *reduction.taps)

    def at(side: tirx.Expr, own: Sequence[tirx.Expr], last: tirx.Expr) -> tirx.Expr:
        return substituted(side, dict(zip(names, (*own, *taps, last), strict=True)))

    rows = [in_registers(at(data, index, tirx.const(k, "int32")), lane) for k in range(DEPTH)]
    factors = _words(lambda own, last: at(factor, own, last), index, lane)
    turned = T.alloc_buffer((DEPTH,), "uint32", scope="local")
    with T.unroll(lane.count // DEPTH) as group:
        device_call(
            "transpose_4", T.address_of(turned[0]), *(T.address_of(row[DEPTH * group]) for row in rows)
        )
        with T.unroll(DEPTH) as place:
            number = DEPTH * group + place
            operands = T.address_of(turned[place]), T.address_of(factors[DEPTH * number])
            total = device_value("int32", f"dp4a_{types}", *operands, sums[number])
            T.buffer_store(sums, total, [number])


def _words(
    at: Callable[[Sequence[tirx.Expr], tirx.Expr], tirx.Expr], index: Sequence[tirx.Expr], lane: Lane
) -> tirx.Buffer:
    """Emit four numbers for each lane, in registers: all of them together where they lie so, else lane by lane."""
    var = tirx.Var("lane", "int32")
    lane.analyzer.bind(var, tvm.ir.Range(0, DEPTH * lane.count))
    own = [substituted(place, {lane.var: tirx.floordiv(var, DEPTH)}) for place in index]
    every, together = at(own, tirx.floormod(var, DEPTH)), Lane(var, DEPTH * lane.count, lane.analyzer)
    if isinstance(every, TensorLoad) and together.runs_along(flat_index(every.source, every.indices)):
        return in_registers(every, together)
    numbers = T.alloc_buffer((DEPTH * lane.count,), str(every.ty.dtype), scope="local")
    for number in range(lane.count):
        place = tirx.Var("place", "int32")
        lane.analyzer.bind(place, tvm.ir.Range(0, DEPTH))
        word = Lane(place, DEPTH, lane.analyzer)
        value = at([lane.at(each, number) for each in index], place)
        in_registers(value, word, numbers, DEPTH * number)
    return numbers


def in_registers(
    value: tirx.Expr, lane: Lane, numbers: tirx.Buffer | None = None, first: int = 0
) -> tirx.Buffer:
    """Emit a value for each lane, in registers."""
    if numbers is None:
        numbers = T.alloc_buffer((lane.count,), str(value.ty.dtype), scope="local")
    value = loaded_ahead(value, lane)
    over(lane, lambda at: T.buffer_store(numbers, at(value), [first + at(lane.var)]))
    return numbers
