"""How a kernel's sums read its weights: as they lie in memory, widened, or unpacked.

    packed [..., words, lanes, depth]   -->   weights [..., steps, lanes, depth]

Weights of fewer than 8 bits lie packed in memory, several steps in a word. A kernel of many rows unpacks a block of
channels once for all of them, into the first-level cache; so the sums read what they would read of 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import te, tirx

from ....targets.meanings import plane_of, unpacked
from ...hub.packing import STORED_BITS
from .annotations import UNPACK
from .bfloat16 import BFLOAT16, widened
from .dots import Dot

WIDENING_ROWS = 16
"""Rows of a kernel from which on its weights are widened beforehand, and not again for each row."""

Factor = Callable[[Sequence[tirx.Expr], Sequence[tirx.Expr], tirx.Expr, tirx.Expr], tirx.Expr]
"""``(leading indices, taps, lane, place in depth) -> weight``."""


def factors(weight: te.Tensor, taps: Sequence[int], dot: Dot, rows: int) -> Factor:
    """Return how the sums read their weights.

    Parameters
    ----------
    weight : (..., *taps, lanes, depth), or packed (..., words, lanes, depth).
    taps : extents of the loops of the sum; the last two are words and planes where ``dot.words``.
    rows : of the kernel.
    """
    if dot.words:
        return lambda front, steps, lane, place: unpacked(
            weight(*front, *steps[:-1], lane, place), steps[-1], dot.weight_bits
        )
    if dot.weight_bits == STORED_BITS[-1]:
        source = _widen(weight, dot, rows)
        return lambda front, steps, lane, place: source(*front, *steps, lane, place)
    source = _unpack(weight, dot)

    def factor(
        front: Sequence[tirx.Expr], steps: Sequence[tirx.Expr], lane: tirx.Expr, place: tirx.Expr
    ) -> tirx.Expr:
        number: tirx.Expr = tirx.const(0, "int32")
        for step, extent in zip(steps, taps, strict=True):
            number = number * extent + step
        return source(*front, number, lane, place)

    return factor


def _widen(weight: te.Tensor, dot: Dot, rows: int) -> te.Tensor:
    """Return the weights in the dtype of the data where so many rows use them that it pays to widen them once."""
    is_wider = dot.data_dtype == "int16" or (dot.data_dtype, dot.weight_dtype) == ("float32", BFLOAT16)
    if not is_wider or rows < WIDENING_ROWS:
        return weight
    return te.compute(weight.shape, lambda *index: widened(weight(*index), dot.data_dtype), name="weights")


def _unpack(packed: te.Tensor, dot: Dot) -> te.Tensor:
    """Return the weights (..., steps, lanes, depth) of which ``packing.pack_planes`` made words.

    They are int8; of one bit uint8, four weights a number.
    """
    *front, words, lanes, depth = (int(extent) for extent in packed.shape)
    planes = dot.planes

    def body(*index: tirx.Expr) -> tirx.Expr:
        *leading, step, lane, place = index
        word, plane = packed(*leading, step // planes, lane, place), step % planes
        return (plane_of if dot.is_binary else unpacked)(word, plane, dot.weight_bits)

    shape = (*front, words * planes, lanes, depth)
    return te.compute(shape, body, name="weights", attrs={UNPACK: planes})
