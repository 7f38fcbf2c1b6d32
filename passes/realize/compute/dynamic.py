"""Rows quantized while a model runs, each with a scale of its own (``arithmetic.quantize_rows``).

    most = max |x|     scale = most / 127              q = rint(x / scale) + zero point

Maxima are those of the floats' bits as integers, whose order is the same: it does not matter which thread or lane sees
a number first, a NaN is the largest, and vectors of integers have the instruction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm import te, tirx

from ...hub.arithmetic import Output
from .epilogue import Conversion

_MAGNITUDE = 0x7FFFFFFF


def _float(value: float) -> tirx.Expr:
    return tirx.const(value, "float32")


def _int(value: int) -> tirx.Expr:
    return tirx.const(value, "int32")


def _from_zero(larger: bool) -> te.CommReducer:
    """Return what finds the largest of numbers and 0, or the least."""
    combine = tirx.max if larger else tirx.min
    return te.comm_reducer(lambda x, y: combine(x, y), lambda dtype: tirx.const(0, dtype))


def _over_rows(data: te.Tensor, larger: bool, key, name: str) -> te.Tensor:
    """Return the largest, or least, of each row's numbers and 0, as int32 that are ordered as floats."""
    *lead, inner = (int(extent) for extent in data.shape)
    k = te.reduce_axis((0, inner), "k")

    def body(*row: tirx.Expr) -> tirx.Expr:
        return _from_zero(larger)(key(tirx.reinterpret("int32", data(*row, k))), axis=[k])

    return te.compute(tuple(lead), body, name=name)


def _ordered(bits: tirx.Expr) -> tirx.Expr:
    """Return an int32 that is ordered as the float of these bits; it is its own inverse."""
    return bits ^ ((bits >> _int(31)) & _int(_MAGNITUDE))


def _real(key: tirx.Expr) -> tirx.Expr:
    return tirx.reinterpret("float32", key)


def _scales(lead: Sequence[tirx.Expr], span) -> te.Tensor:
    """Return ``span(row)``, and 1 where that is 0."""

    def body(*row: tirx.Expr) -> tirx.Expr:
        scale = span(*row)
        return tirx.Select(scale == _float(0), _float(1), scale)

    return te.compute(tuple(lead), body, name="scale")


def symmetric(data: te.Tensor, *, dtype: str, conversion: Conversion) -> list[te.Tensor]:
    """Return float32 ``data[..., K]`` in integers of ``dtype``, and the scale of each row, float32.

    The zero point is 0 of int8 and 128 of uint8.
    """
    most = _over_rows(data, True, lambda bits: bits & _int(_MAGNITUDE), "most")
    scale = _scales(most.shape, lambda *row: _real(most(*row)) / _float(127))
    centre = 0 if dtype == "int8" else 128
    out = Output(dtype, centre, centre - 127, centre + 127)

    def body(*index: tirx.Expr) -> tirx.Expr:
        return conversion.to_output(_steps(data(*index), scale(*index[:-1])), out)

    return [te.compute(data.shape, body, name="quantized"), scale]


def asymmetric(data: te.Tensor, *, conversion: Conversion) -> list[te.Tensor]:
    """Return float32 ``data[..., K]`` in uint8, and the scale and the zero point of each row, float32 and uint8."""
    most = _over_rows(data, True, _ordered, "most")
    least = _over_rows(data, False, _ordered, "least")
    scale = _scales(most.shape, lambda *row: (_real(most(*row)) - _real(_ordered(least(*row)))) / _float(255))
    zero = te.compute(
        most.shape,
        lambda *row: conversion.to_output(
            _steps(_float(0) - _real(_ordered(least(*row))), scale(*row)), Output("uint8", 0, 0, 255)
        ),
        name="zero_point",
    )

    def body(*index: tirx.Expr) -> tirx.Expr:
        row = index[:-1]
        steps = conversion.to_int(_steps(data(*index), scale(*row))) + zero(*row).astype("int32")
        return tirx.max(tirx.min(steps, _int(255)), _int(0)).astype("uint8")

    return [te.compute(data.shape, body, name="quantized"), scale, zero]


def _steps(value: tirx.Expr, scale: tirx.Expr) -> tirx.Expr:
    """Return how many scales a number is; 0 where the scale is not finite."""
    return tirx.Select(scale < _float(math.inf), value / scale, _float(0))
