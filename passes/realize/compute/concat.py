"""Concatenation: one loop nest a part, each writing its own place in the result.

    result[.., start_i + k] = part_i[.., k]

A tensor expression would ask at each element which part it belongs to, and such a loop has no vectors. Hence the
function is built of blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T


def concat(rows: Sequence[int], widths: Sequence[int], dtype: str) -> tirx.PrimFunc:
    """Return the function ``(parts.., result)`` that puts the parts behind each other along the last axis.

    Parameters
    ----------
    rows : extents of the axes before the last one, the same for all parts.
    widths : extents of the parts' last axes.
    """
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        parts = [T.arg(f"part{at}", T.buffer((*rows, width), dtype)) for at, width in enumerate(widths)]
        result = T.arg("result", T.buffer((*rows, sum(widths)), dtype))
        with T.sblock("root"):
            start = 0
            for part, width in zip(parts, widths, strict=True):
                _copy(part, result, (*rows, width), start)
                start += width
    return builder.get()


def _copy(part: tirx.Buffer, result: tirx.Buffer, shape: Sequence[int], start: int) -> None:
    with T.grid(*shape) as loops, T.sblock(f"copy_{part.name}"):
        *row, column = [T.axis.spatial(extent, loop) for extent, loop in zip(shape, loops, strict=True)]
        source, target = (*row, column), (*row, column + start)
        T.reads(part[source])
        T.writes(result[target])
        T.buffer_store(result, part[source], target)
