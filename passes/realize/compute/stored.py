"""Compressed weights to float: ``passes.hub.codes`` has the numbers' definition in NumPy.

code[i]     = bits [i * bits, (i + 1) * bits) of the stream
grouped     w[...] = float(step * code + low) * table[...]
codebook    w[...] = table[code] * scales[...]
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm import te, tirx

from ...hub.codes import step_and_low
from ...hub.packing import ceil_div


def stream_bytes(size: int, bits: int) -> int:
    """Return how many bytes ``unpack`` may read: the last code is read with all bytes that a code may touch."""
    return ceil_div(size * bits, 8) + _bytes_touched(bits) - 1


def grouped(stream: te.Tensor, table: te.Tensor, *, shape: Sequence[int], bits: int, group: int) -> te.Tensor:
    """Return float32 weights of ``shape``.

    Parameters
    ----------
    stream : uint8 ``[stream_bytes(size, bits)]``.
    table : float32 scales of the same rank; the extent of each axis is 1, that of ``shape``, or the number of groups.
    group : neighbours along an axis that share a scale, where the extents differ.
    """
    step, low = step_and_low(bits)

    def value(*index: tirx.PrimExpr) -> tirx.PrimExpr:
        integer = _code(stream, index, shape, bits).astype("int32") * step + low
        return integer.astype("float32") * _scale(table, index, shape, group)

    return te.compute(tuple(shape), value, name="unpacked")


def codebook(
    stream: te.Tensor, table: te.Tensor, scales: te.Tensor, *, shape: Sequence[int], bits: int
) -> te.Tensor:
    """Return float32 weights of ``shape``: entries of ``table``, float32 ``[2^bits]``, times scales.

    ``scales`` are of the weights' rank, the extent of each axis is 1 or that of ``shape``; else as ``grouped``.
    """

    def value(*index: tirx.PrimExpr) -> tirx.PrimExpr:
        return table(_code(stream, index, shape, bits).astype("int32")) * _scale(scales, index, shape)

    return te.compute(tuple(shape), value, name="unpacked")


def _bytes_touched(bits: int) -> int:
    """Return how many bytes a code may have a part of; it starts at a multiple of gcd(bits, 8)."""
    return ceil_div(8 - math.gcd(bits, 8) + bits, 8)


def _scale(
    scales: te.Tensor, index: Sequence[tirx.PrimExpr], shape: Sequence[int], group: int = 1
) -> tirx.PrimExpr:
    """Return the scale of one weight."""

    def place(each: tirx.PrimExpr, extent: int, count: int) -> tirx.PrimExpr:
        if count == extent:
            return each
        return each // group if count > 1 else tirx.const(0, "int32")

    return scales(
        *(place(*each) for each in zip(index, shape, (int(count) for count in scales.shape), strict=True))
    )


def _code(
    stream: te.Tensor, index: Sequence[tirx.PrimExpr], shape: Sequence[int], bits: int
) -> tirx.PrimExpr:
    """Return one code, uint32."""
    place: tirx.PrimExpr = tirx.const(0, "int32")
    for each, extent in zip(index, shape, strict=True):
        place = place * extent + each
    first, shift = place * bits // 8, place * bits % 8
    word = tirx.const(0, "uint32")
    for byte in range(_bytes_touched(bits)):
        word = word | (stream(first + byte).astype("uint32") << tirx.const(8 * byte, "uint32"))
    return (word >> shift.astype("uint32")) & tirx.const(2**bits - 1, "uint32")
