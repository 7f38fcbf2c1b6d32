"""The product of two activations, such as the scores of attention, with its epilogue.

    other  --(pack)-->  packed  \\
    data   --(pad, widen)-->  rows  --(sum)-->  accumulator  --(epilogue)-->  result

``other`` is brought into the layout that weights have (``contraction.matmul``) each time, so the schedule rule finds
the same kernel behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx

from ...hub.packing import ceil_div
from .annotations import PACK
from .bfloat16 import convert
from .contraction import or_outside
from .dots import ANY_BLOCKS, Dot
from .epilogue import Dequantize, Requantize
from .sums import accumulate

PACKING_ROWS = 4
"""Rows of the data from which on packing the other operand pays, where an instruction takes it as it lies."""


def batch_of(data: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """Return the leading axes of the product of two shapes: broadcast against each other, as NumPy does."""
    rank = max(len(data), len(other)) - 2
    leads = [(1,) * (rank + 2 - len(shape)) + tuple(shape[:-2]) for shape in (data, other)]
    return tuple(max(pair) if 0 not in pair else 0 for pair in zip(*leads, strict=True))


def _shape(data: te.Tensor, other: te.Tensor) -> tuple[int, ...]:
    """Return the shape of the product."""
    shapes = [[int(extent) for extent in tensor.shape] for tensor in (data, other)]
    return (*batch_of(*shapes), shapes[0][-2], shapes[1][-1])


def _lead(batch: Sequence[tirx.Expr], tensor: te.Tensor) -> list[tirx.Expr]:
    """Return the leading indices of a tensor for those of the result."""
    own = [int(extent) for extent in tensor.shape[:-2]]
    places = batch[len(batch) - len(own) :]
    return [
        tirx.const(0, "int32") if extent == 1 else place for extent, place in zip(own, places, strict=True)
    ]


def packed(other: te.Tensor, dot: Dot, centre: int = 0) -> te.Tensor:
    """Return ``other (..., K, N) - centre`` as ``(..., N/lanes, K/depth, lanes, depth)``, padded with zeros.

    Integers become int8; ``centre`` is what takes them there.
    """
    *lead, inner, columns = (int(extent) for extent in other.shape)

    def body(*index: tirx.Expr) -> tirx.Expr:
        *front, block, step, lane, lane_step = index
        row, column = step * dot.depth + lane_step, block * dot.lanes + lane
        value = other(*front, row, column)
        if centre:
            value = value ^ tirx.const(centre, str(value.ty))
        return _within(other, dot, row, column, convert(value, dot.weight_dtype))

    shape = (*lead, _blocks(columns, dot), ceil_div(inner, dot.depth), dot.lanes, dot.depth)
    return te.compute(shape, body, name="packed", attrs={PACK: 1})


def _blocks(columns: int, dot: Dot) -> int:
    """Return how many blocks of columns there are: whole register tiles of them where their number is open."""
    if dot.any_extent:
        return ceil_div(columns, ANY_BLOCKS * dot.lanes) * ANY_BLOCKS
    return ceil_div(columns, dot.lanes)


def _within(other: te.Tensor, dot: Dot, row: tirx.Expr, column: tirx.Expr, value: tirx.Expr) -> tirx.Expr:
    """Return an element of a matrix; zero where whole tiles leave it."""
    inner, columns = (int(extent) for extent in other.shape[-2:])
    conditions = [row < inner] if inner % dot.depth or (dot.any_extent and dot.depth > 1) else []
    if columns % dot.lanes or dot.any_extent:
        conditions.append(column < columns)
    return or_outside(value, conditions)


def _rows(data: te.Tensor, dot: Dot) -> te.Tensor:
    """Return the data (..., M, K) in whole register tiles and groups, in the dtype that reaches the instruction."""
    length, inner = (int(extent) for extent in data.shape[-2:])
    rows, depth = dot.padded_rows(length), ceil_div(inner, dot.depth) * dot.depth
    if not dot.any_extent and (rows, depth, str(data.dtype)) == (length, inner, dot.data_dtype):
        return data

    def body(*index: tirx.Expr) -> tirx.Expr:
        conditions = [index[-2] < length] if rows != length or dot.any_extent else []
        if depth != inner or (dot.any_extent and dot.depth > 1):
            conditions.append(index[-1] < inner)
        return or_outside(convert(data(*index), dot.data_dtype), conditions)

    lead = (int(extent) for extent in data.shape[:-2])
    return te.compute((*lead, rows, depth), body, name="rows")


def _accumulator(data: te.Tensor, other: te.Tensor, dot: Dot, centre: int = 0) -> te.Tensor:
    """Return the sums in whole register tiles, ``(..., rows, N/lanes, lanes)``."""
    *batch, _, _ = _shape(data, other)
    length, inner = (int(extent) for extent in data.shape[-2:])
    blocks, steps = _blocks(int(other.shape[-1]), dot), ceil_div(inner, dot.depth)
    is_short = length < PACKING_ROWS and not dot.any_extent
    as_it_lies = dot.accumulator_dtype == "float32" and is_short
    weight = None if as_it_lies else packed(other, dot, centre)
    source = _rows(data, dot)

    def terms(index: Sequence[tirx.Expr], taps: Sequence[tirx.Expr], place: tirx.Expr):
        *front, row, block, lane = index
        (step,) = taps
        value = source(*_lead(front, data), row, step * dot.depth + place)
        if weight is not None:
            return value, weight(*_lead(front, other), block, step, lane, place)
        column = block * dot.lanes + lane
        return value, _within(other, dot, step, column, other(*_lead(front, other), step, column))

    return accumulate((*batch, int(source.shape[-2]), blocks, dot.lanes), [("ko", steps)], terms, dot)


def matmul(data: te.Tensor, other: te.Tensor, *, dot: Dot) -> te.Tensor:
    """Return ``data @ other`` of floats.

    Parameters
    ----------
    data : (..., M, K).
    other : (..., K, N); the leading axes broadcast against each other.

    Returns
    -------
    (..., M, N).
    """
    accumulator = _accumulator(data, other, dot)
    return te.compute(
        _shape(data, other),
        lambda *index: accumulator(*index[:-1], index[-1] // dot.lanes, index[-1] % dot.lanes),
        name="result",
    )


def column_offsets(other: te.Tensor, *, zero_points: tuple[int, int], inner: int) -> te.Tensor:
    """Return what the zero points add to each column of ``integer_matmul``, int32 ``(..., N)``."""
    zero, other_zero = zero_points
    along = te.reduce_axis((0, inner), "k")
    sums = te.compute(
        (*other.shape[:-2], other.shape[-1]),
        lambda *index: te.sum(other(*index[:-1], along, index[-1]).astype("int32"), axis=[along]),
        name="sums",
    )
    return te.compute(
        sums.shape, lambda *index: inner * zero * other_zero - zero * sums(*index), name="offsets"
    )


def row_offsets(data: te.Tensor, *, other_zero: int) -> te.Tensor:
    """Return what the other operand's zero point adds to each row of ``integer_matmul``, int32 ``(..., M)``."""
    across = te.reduce_axis((0, int(data.shape[-1])), "k")
    sums = te.compute(
        data.shape[:-1],
        lambda *index: te.sum(data(*index, across).astype("int32"), axis=[across]),
        name="sums",
    )
    return te.compute(sums.shape, lambda *index: -other_zero * sums(*index), name="offsets")


def centre_of(dtype: str) -> int:
    """Return what is taken off unsigned operands, which the instructions take as int8: u ^ 128, as int8, is u - 128."""
    return 128 if dtype == "uint8" else 0


def integer_matmul(
    data: te.Tensor,
    other: te.Tensor,
    columns: te.Tensor,
    *rows: te.Tensor,
    multiplier: float,
    dot: Dot,
    epilogue: Requantize | Dequantize,
) -> te.Tensor:
    """Return ``(data - za) @ (other - zb)``, za and zb the zero points, as the epilogue leaves it.

    The shapes are those of ``matmul``.

    ``columns``, and ``rows`` where zb is not ``centre_of`` its dtype, are offsets: with b the centred operand,

        sum (a - za)(b - zb)  =  sum a b  +  (K za zb - za sum b)  +  (-zb sum a)
    """
    accumulator = _accumulator(data, other, dot, centre_of(str(other.dtype)))

    def body(*index: tirx.Expr) -> tirx.Expr:
        total = accumulator(*index[:-1], index[-1] // dot.lanes, index[-1] % dot.lanes)
        total = total + columns(*_lead(index[:-2], other), index[-1])
        for offsets in rows:
            total = total + offsets(*_lead(index[:-2], data), index[-2])
        return epilogue(total, tirx.const(multiplier, "float32"), index, ())

    return te.compute(_shape(data, other), body, name="result")
