"""Kernels whose threads have nothing to do with each other: each computes some neighbouring elements of a result.

    element-wise operators, moves and tables; with a reduction that each element has for itself: depthwise convolution,
    pooling, sums along axes that are no rows

A thread has up to 16 bytes of the result, and its sums in registers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tvm_ffi
from tvm import tirx
from tvm.ir.expr import TensorLoad
from tvm.script.ir_builder import tirx as T

from ...targets.row import Gpu
from ..blocks import item_bytes
from ..space import Decide
from .definition import Step, substituted
from .vectors import VECTOR_BYTES, Lane, analyzer_of, loaded_ahead, place_of, store_together

THREADS = 128
"""Of a block: few enough that small results have several blocks."""

OTHER_THREADS = (64, 256)
"""What tuning tries besides."""

MOST_UNROLLED = 25
"""Terms of a reduction up to which they are written out: the window of 5 x 5."""


def fits(step: Step, reduction: Step | None) -> bool:
    """Tell whether each element of the step has the reduction for itself, so that none is computed twice."""
    if reduction is None:
        return True
    index = index_in(step, reduction)
    return index is not None and reduction.size <= step.size <= 2 * reduction.size


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
    count = decide("lanes", lanes_of(step, gpu))
    items = step.size // count
    threads = decide("threads", _threads_of(items))
    blocks = -(-items // threads)
    with T.launch_thread("blockIdx.x", blocks) as block, T.launch_thread("threadIdx.x", threads) as thread:
        lane = tirx.Var("lane", "int32")
        item = block * threads + thread
        index = place_of(item * count + lane, step.extents)
        ranges = {block: blocks, thread: threads, lane: count}
        if items % threads:
            with T.If(item < items), T.Then():
                _elements(step, reduction, index, Lane(lane, count, analyzer_of(ranges)), ranges)
        else:
            _elements(step, reduction, index, Lane(lane, count, analyzer_of(ranges)), ranges)


def _elements(
    step: Step, reduction: Step | None, index: Sequence[tirx.Expr], lane: Lane, ranges: dict[tirx.Var, int]
) -> None:
    index = [lane.analyzer.simplify(place) for place in index]
    value = step.at(index)
    if reduction is not None:
        values = dict(zip(step.axes, index, strict=True))
        own = [lane.analyzer.simplify(substituted(place, values)) for place in index_in(step, reduction)]
        sums = _reduced(reduction, own, lane, ranges)

        def replaced(load: TensorLoad) -> tirx.Expr:
            return tirx.BufferLoad(sums, [lane.var]) if load.source.same_as(reduction.buffer) else load

        value = tvm_ffi.structural_map(value, [(TensorLoad, replaced)])
    write(step.buffer, [lane.analyzer.simplify(place) for place in step.index_at(index)], value, lane)


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
    reduction: Step, index: Sequence[tirx.Expr], lane: Lane, ranges: dict[tirx.Var, int]
) -> tirx.Buffer:
    """Emit the reduction of each lane's element, and return where it is."""
    sums = T.alloc_buffer((lane.count,), str(reduction.buffer.dtype), scope="local")
    start = loaded_ahead(reduction.start_at(index), lane)
    over(lane, lambda at: T.buffer_store(sums, at(start), [at(lane.var)]))
    taps: list[tirx.Var] = []
    loop = T.unroll if reduction.length <= MOST_UNROLLED else T.serial

    def inside(extents: Sequence[int]) -> None:
        if extents:
            with loop(extents[0]) as tap:
                taps.append(tap)
                inside(extents[1:])
            return
        known = analyzer_of({**ranges, **dict(zip(taps, reduction.tap_extents, strict=True))})
        own = Lane(lane.var, lane.count, known)
        term = loaded_ahead(reduction.at(index, taps), own)

        def add(at) -> None:
            place = at(lane.var)
            T.buffer_store(sums, reduction.combine(sums[place], at(term)), [place])

        over(lane, add)

    inside(reduction.tap_extents)
    return sums
