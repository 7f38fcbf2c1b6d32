"""Vectors of float32 in kernels that are written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

from tvm import tirx
from tvm.script.ir_builder import tirx as T

_COEFFICIENTS = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
"""Of the polynomial in Cephes' ``expf``, which TVM's ``fast_exp`` takes too."""


def number(value: float, lanes: int = 1) -> tirx.Expr:
    """Return a float32 constant, in all lanes."""
    constant = tirx.const(value, "float32")
    return tirx.Broadcast(constant, lanes) if lanes > 1 else constant


def load(buffer: tirx.Buffer, index: Sequence[tirx.Expr | int], lanes: int) -> tirx.Expr:
    """Return the vector that begins at ``index``."""
    *outer, first = index
    return tirx.BufferLoad(buffer, [*outer, T.ramp(first, 1, lanes) if lanes > 1 else first])


def store(buffer: tirx.Buffer, value: tirx.Expr, index: Sequence[tirx.Expr | int]) -> None:
    """Emit the store of a vector that begins at ``index``."""
    *outer, first = index
    lanes = value.ty.dtype.lanes
    T.buffer_store(buffer, value, [*outer, T.ramp(first, 1, lanes) if lanes > 1 else first])


def broadcast(value: tirx.Expr, lanes: int) -> tirx.Expr:
    """Return a number in all lanes."""
    return tirx.Broadcast(value, lanes) if lanes > 1 else value


def fetch(buffer: tirx.Buffer, place: tirx.Expr) -> None:
    """Emit the fetching of what lies at a place, or behind the end, of a flat buffer into the second-level cache."""
    reads, near, is_data = (tirx.const(value, "int32") for value in (0, 2, 1))
    T.evaluate(
        tirx.call_llvm_intrin("void", "llvm.prefetch", T.address_of(buffer[place]), reads, near, is_data)
    )


def transposed(rows: Sequence[tirx.Expr]) -> list[tirx.Expr]:
    """Return the columns of a square of numbers, given as vectors."""
    side = len(rows)
    every = T.Shuffle(list(rows), [row * side + column for column in range(side) for row in range(side)])
    return [T.Shuffle([every], list(range(column * side, (column + 1) * side))) for column in range(side)]


def sums_of(vectors: Sequence[tirx.Expr]) -> tirx.Expr:
    """Return the vector of the sums of so many vectors, each of as many numbers or a power of two more."""
    vectors = list(vectors)
    while (lanes := int(vectors[0].ty.dtype.lanes)) > len(vectors):
        halves = list(range(lanes // 2)), list(range(lanes // 2, lanes))
        vectors = [T.Shuffle([vector], halves[0]) + T.Shuffle([vector], halves[1]) for vector in vectors]
    return reduce(add, transposed(vectors))


def exponential(value: tirx.Expr) -> tirx.Expr:
    """Return e to the power of numbers from -87 to 88, off by 3e-7 of it: TVM's ``fast_exp`` without limits."""
    lanes = value.ty.dtype.lanes
    whole = T.floor(value * number(1.44269504088896341, lanes) + number(0.5, lanes))
    rest = value - whole * number(0.69314718055994530, lanes)
    first, *further = _COEFFICIENTS
    total = number(first, lanes)
    for coefficient in further:
        total = total * rest + number(coefficient, lanes)
    total = total * rest * rest + rest + number(1.0, lanes)
    dtype = "int32" if lanes == 1 else f"int32x{lanes}"
    exponent = T.cast(whole, dtype) + _integer(127, lanes)
    power = T.reinterpret(exponent << _integer(23, lanes), dtype=dtype.replace("int", "float"))
    return power * total


def _integer(value: int, lanes: int) -> tirx.Expr:
    constant = tirx.const(value, "int32")
    return tirx.Broadcast(constant, lanes) if lanes > 1 else constant
