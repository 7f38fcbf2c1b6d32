"""Bits of a result: a thread computes eight neighbouring elements of each byte that it writes, and puts them together.

reached[..., c] = 0 or 1      bytes[..., b] = sum over i < 8 of reached[..., 8 b + i] << i
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tvm
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ...targets.row import Gpu
from .definition import Step, loads
from .threads import THREADS, element, index_of, over
from .vectors import Lane, analyzer_of, loaded_ahead, store_together, under

BYTE = 8
MOST_BYTES = 4
"""Of a thread."""


def makes_bytes(packed: Step, reached: Step) -> bool:
    """Tell whether a step makes bytes of all that ``reached`` has."""
    return any(load.source.same_as(reached.buffer) for load in loads(packed))


def emit(reached: Step, packed: Step, reduction: Step | None, gpu: Gpu) -> None:
    """Emit the launch of a kernel of bits; ``reduction`` is what each reads for itself, as ``threads.fits`` tells."""
    count = math.gcd(packed.extents[-1], MOST_BYTES)
    while count > 1 and packed.size // count < gpu.multiprocessors * THREADS:
        count //= 2
    items = packed.size // count
    blocks, width = -(-items // THREADS), count * BYTE
    with T.launch_thread("blockIdx.x", blocks) as block, T.launch_thread("threadIdx.x", THREADS) as thread:
        var = tirx.Var("lane", "int32")
        ranges = {block: blocks, thread: THREADS, var: width}
        lane = Lane(var, width, analyzer_of(ranges))
        item = block * THREADS + thread
        index = [lane.analyzer.simplify(each) for each in index_of(item, var, width, reached.extents)]
        under(
            [item < items] if items % THREADS else [],
            lambda: write(packed, index, element(reached, reduction, index, lane, ranges), lane),
        )


def write(packed: Step, index: Sequence[tirx.Expr], value: tirx.Expr, lane: Lane) -> None:
    """Emit the computation of the lanes' elements, and the stores of the bytes that they make.

    Parameters
    ----------
    index : of an element; that of the first lane is a multiple of 8.
    value : of an element, 0 or 1.
    """
    value = loaded_ahead(value, lane)
    numbers = T.alloc_buffer((lane.count,), "int32", scope="local")
    over(lane, lambda at: T.buffer_store(numbers, at(tirx.Cast("int32", value)), [at(lane.var)]))
    results = T.alloc_buffer((lane.count // BYTE,), "uint8", scope="local")
    for byte in range(lane.count // BYTE):
        bits: tirx.Expr = numbers[byte * BYTE]
        for bit in range(1, BYTE):
            bits = bits | numbers[byte * BYTE + bit] << bit
        T.buffer_store(results, tirx.Cast("uint8", bits), [byte])
    var = tirx.Var("byte", "int32")
    lane.analyzer.bind(var, tvm.ir.Range(0, lane.count // BYTE))
    *front, last = (lane.analyzer.simplify(lane.at(each, 0)) for each in index)
    first = lane.analyzer.simplify(tirx.floordiv(last, BYTE))
    place = packed.index_at([*front, first + var])
    store_together(packed.buffer, place, results, Lane(var, lane.count // BYTE, lane.analyzer))
