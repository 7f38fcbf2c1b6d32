"""The sums of a contraction, in whole register tiles.

    accumulator[..., lane] = sum over taps and depth of value * factor

or, where the dot says so, in two steps, of which the first stays in a narrower dtype as long as nothing can leave it:

    partial[..., outer taps, lane, part] = sum over inner taps and the part's share of depth
    accumulator[..., lane]               = sum over outer taps and parts
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx

from ....targets import bit_products
from .annotations import DATA_BITS, INTO_ROWS, KERNEL, MATRIX, NARROW, STEPS, TAIL, WORDS
from .bfloat16 import widened
from .dots import Dot, Narrow, split_taps

Terms = Callable[[Sequence[tirx.Expr], Sequence[tirx.Expr], tirx.Expr], tuple[tirx.Expr, tirx.Expr]]
"""``(index of the accumulator, taps, place in depth) -> (value, factor)``."""


def accumulate(
    shape: Sequence[int],
    taps: Sequence[tuple[str, int]],
    terms: Terms,
    dot: Dot,
    marks: dict[str, Any] | None = None,
) -> te.Tensor:
    """Return the accumulator of ``shape``, ``(..., rows, blocks, lanes)``.

    Parameters
    ----------
    taps : names and extents of the loops of the sum; the last counts groups of ``dot.depth``.
    marks : annotations of its block beside those that every accumulator has.
    """
    attrs = {KERNEL: "contraction", STEPS: dot.steps, **(marks or {})}
    if dot.words:
        attrs[WORDS] = dot.words
    if dot.data_bits < 8:
        attrs[DATA_BITS] = dot.data_bits
    if dot.narrow is not None:
        return _in_two_steps(shape, taps, terms, dot, dot.narrow, attrs)
    if dot.rows > 1:
        return _by_pairs(shape, taps, terms, dot, attrs)
    axes = [te.reduce_axis((0, extent), name) for name, extent in taps]
    place = te.reduce_axis((0, dot.depth), "ki")

    def body(*index: tirx.Expr) -> tirx.Expr:
        return te.sum(_product(terms(index, axes, place), dot.accumulator_dtype), axis=[*axes, place])

    return te.compute(tuple(shape), body, name="accumulator", attrs=attrs)


def _in_two_steps(
    shape: Sequence[int],
    taps: Sequence[tuple[str, int]],
    terms: Terms,
    dot: Dot,
    narrow: Narrow,
    attrs: dict[str, Any],
) -> te.Tensor:
    """Return the accumulator of sums that begin in a narrower dtype."""
    names, extents = [name for name, _ in taps], [extent for _, extent in taps]
    outer, inner = split_taps(extents, narrow.steps)
    width = dot.depth // narrow.parts
    inside = [te.reduce_axis((0, extent), name) for name, extent in zip(names, inner, strict=True)]
    places = [te.reduce_axis((0, width), "ki")] if width > 1 else []
    count = len(outer)

    def body(*index: tirx.Expr) -> tirx.Expr:
        *front, part = index
        cut = len(front) - 1 - count
        own, groups = [*front[:cut], front[-1]], front[cut:-1]
        steps = [group * extent + step for group, extent, step in zip(groups, inner, inside, strict=True)]
        first = part * width
        factors, tail = terms(own, steps, first + places[0] if places else first), narrow.tail
        bits = tail is not None
        value = bit_products.product(*factors, tail) if bits else _product(factors, narrow.dtype)
        return te.sum(value, axis=[*inside, *places])

    partial_shape = (*shape[:-1], *outer, shape[-1], narrow.parts)
    marks = {NARROW: extents} if narrow.tail is None else {NARROW: extents, TAIL: narrow.tail}
    partial = te.compute(partial_shape, body, name="partial", attrs=marks)
    outside = [te.reduce_axis((0, extent), f"{name}o") for name, extent in zip(names, outer, strict=True)]
    part = te.reduce_axis((0, narrow.parts), "part")

    def total(*index: tirx.Expr) -> tirx.Expr:
        value = partial(*index[:-1], *outside, index[-1], part)
        value = value.astype(dot.accumulator_dtype)
        return te.sum(value if narrow.factor == 1 else value * narrow.factor, axis=[*outside, part])

    return te.compute(tuple(shape), total, name="accumulator", attrs=attrs)


def _by_pairs(
    shape: Sequence[int], taps: Sequence[tuple[str, int]], terms: Terms, dot: Dot, attrs: dict[str, Any]
) -> te.Tensor:
    """Return the accumulator of sums of two rows and two channels each."""
    *front, rows, blocks, lanes = shape
    axes = [te.reduce_axis((0, extent), name) for name, extent in taps]
    place = te.reduce_axis((0, dot.depth), "ki")

    def sums(*index: tirx.Expr) -> tirx.Expr:
        *outer, pair, block, channels, row, channel = index
        own = [*outer, pair * 2 + row, block, channels * 2 + channel]
        return te.sum(_product(terms(own, axes, place), dot.accumulator_dtype), axis=[*axes, place])

    pairs = te.compute(
        (*front, rows // 2, blocks, lanes // 2, 2, 2), sums, name="pairs", attrs={**attrs, MATRIX: 1}
    )
    by_rows = te.compute(
        (*front, rows // 2, 2, blocks, lanes),
        lambda *i: pairs(*i[:-3], i[-2], i[-1] // 2, i[-3], i[-1] % 2),
        name="into_rows",
        attrs={INTO_ROWS: 1},
    )
    return te.compute(
        tuple(shape), lambda *i: by_rows(*i[:-3], i[-3] // 2, i[-3] % 2, *i[-2:]), name="accumulator"
    )


def _product(factors: tuple[tirx.Expr, tirx.Expr], dtype: str) -> tirx.Expr:
    value, factor = (widened(each, dtype) for each in factors)
    return value * factor
