"""Rows quantized while a model runs, each with a scale of its own (``arithmetic.quantize_rows``).

    most = max |x|     scale = most / 127              q = rint(x / scale) + zero point

Maxima are those of the floats' bits as integers, whose order is the same from 0 on: it does not matter which thread or
lane sees a number first, a NaN is the largest, and vectors of integers have the instruction. What is below 0 is above
it with the other sign.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tvm import te, tirx

from ...hub.arithmetic import Output, bounds_of
from .annotations import ROWS
from .epilogue import Conversion

_MAGNITUDE = 0x7FFFFFFF
_SIGN = 0x80000000

Key = Callable[[tirx.Expr], tirx.Expr]


def _float(value: float) -> tirx.Expr:
    return tirx.const(value, "float32")


def _int(value: int) -> tirx.Expr:
    return tirx.const(value, "int32")


_largest = te.comm_reducer(lambda x, y: tirx.max(x, y), lambda dtype: tirx.const(0, dtype))
"""The largest of numbers and 0."""


def _negated(bits: tirx.Expr) -> tirx.Expr:
    """Return the bits of the number of the other sign; unsigned, since C has no int32 of the sign alone."""
    return tirx.reinterpret("int32", tirx.reinterpret("uint32", bits) ^ tirx.const(_SIGN, "uint32"))


def _over_rows(data: te.Tensor, key: Key, name: str, lanes: int | None) -> te.Tensor:
    """Return the largest ``key`` of the bits of each row's numbers, and 0, as int32.

    Whole vectors are reduced lane by lane first, then the lanes, and what is left of the row behind them.
    """
    *lead, inner = (int(extent) for extent in data.shape)
    attrs = {ROWS: len(lead)}

    def reduced(extent: int, value: Callable[..., tirx.Expr], name: str) -> te.Tensor:
        step = te.reduce_axis((0, extent), "step")

        def body(*row: tirx.Expr) -> tirx.Expr:
            return _largest(value(*row, step), axis=[step])

        return te.compute(tuple(lead), body, name=name, attrs=attrs)

    def number(*place: tirx.Expr) -> tirx.Expr:
        return key(tirx.reinterpret("int32", data(*place)))

    if lanes is None or inner < 2 * lanes:
        return reduced(inner, number, name)
    groups = inner // lanes
    group = te.reduce_axis((0, groups), "group")
    by_lane = te.compute(
        (*lead, lanes),
        lambda *at: _largest(number(*at[:-1], group * lanes + at[-1]), axis=[group]),
        name=f"{name}_by_lane",
        attrs=attrs,
    )
    head = reduced(lanes, by_lane, name)
    if inner % lanes == 0:
        return head
    tail = reduced(inner % lanes, lambda *at: number(*at[:-1], at[-1] + groups * lanes), f"{name}_tail")
    return te.compute(
        tuple(lead), lambda *row: tirx.max(head(*row), tail(*row)), name=f"{name}_of_both", attrs=attrs
    )


def _real(key: tirx.Expr) -> tirx.Expr:
    return tirx.reinterpret("float32", key)


def _scales(lead: Sequence[tirx.Expr], span: Callable[..., tirx.Expr]) -> te.Tensor:
    """Return ``span(row)``, and 1 where that is 0."""

    def body(*row: tirx.Expr) -> tirx.Expr:
        scale = span(*row)
        return tirx.Select(scale == _float(0), _float(1), scale)

    return te.compute(tuple(lead), body, name="scale", attrs={ROWS: len(lead)})


def symmetric(
    data: te.Tensor, *, dtype: str, conversion: Conversion, lanes: int | None = None
) -> list[te.Tensor]:
    """Return float32 ``data[..., K]`` in integers of ``dtype``, and the scale of each row, float32.

    The zero point is 0 of int8 and 128 of uint8. ``lanes`` are those of a vector, or None where the schedule chooses.
    """
    most = _over_rows(data, lambda bits: bits & _int(_MAGNITUDE), "most", lanes)
    scale = _scales(most.shape, lambda *row: _real(most(*row)) / _float(127))
    centre = 0 if dtype == "int8" else 128
    out = Output(dtype, centre, centre - 127, centre + 127)

    def body(*index: tirx.Expr) -> tirx.Expr:
        return conversion.to_output(steps_of(data(*index), scale(*index[:-1])), out)

    return [te.compute(data.shape, body, name="quantized", attrs={ROWS: len(most.shape)}), scale]


def asymmetric(
    data: te.Tensor, *, dtype: str, conversion: Conversion, lanes: int | None = None
) -> list[te.Tensor]:
    """Return float32 ``data[..., K]`` in integers of ``dtype``, with scale and zero point of each row.

    They are float32 and of ``dtype``; ``lanes`` as for ``symmetric``.
    """
    low, high = bounds_of(dtype)
    most = _over_rows(data, lambda bits: bits, "most", lanes)
    below = _over_rows(data, _negated, "below", lanes)
    scale = _scales(most.shape, lambda *row: (_real(most(*row)) + _real(below(*row))) / _float(255))

    def zero(*row: tirx.Expr) -> tirx.Expr:
        return conversion.to_output(steps_of(_real(below(*row)), scale(*row)), Output(dtype, low, low, high))

    zeros = te.compute(most.shape, zero, name="zero_point", attrs={ROWS: len(most.shape)})

    def body(*index: tirx.Expr) -> tirx.Expr:
        row = index[:-1]
        steps = conversion.to_int(steps_of(data(*index), scale(*row))) + zeros(*row).astype("int32")
        return tirx.max(tirx.min(steps, _int(high)), _int(low)).astype(dtype)

    return [te.compute(data.shape, body, name="quantized", attrs={ROWS: len(most.shape)}), scale, zeros]


def steps_of(value: tirx.Expr, scale: tirx.Expr) -> tirx.Expr:
    """Return how many scales a number is; 0 where the scale is not finite."""
    return tirx.Select(scale < _float(math.inf), value / scale, _float(0))
