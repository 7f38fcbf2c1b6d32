"""Operators in the arithmetic of ``passes.hub.fixed_point``: what TFLite's reference kernels compute.

An element of a tensor is an integer less its zero point; ``multiplied`` brings it to another scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import te, tirx

from ...hub.arithmetic import Output
from .annotations import ROWS
from .epilogue import OfOutput, narrowed


def high_product(value: tirx.Expr, factor: tirx.Expr) -> tirx.Expr:
    """Return ``value * factor / 2**31`` of int32, rounded to the nearest, halves upwards."""
    product = value.astype("int64") * factor.astype("int64") + tirx.const(2**30, "int64")
    return (product >> tirx.const(31, "int64")).astype("int32")


def rounded_shift(value: tirx.Expr, less_one: tirx.Expr) -> tirx.Expr:
    """Return an int32 ``value / 2**(less_one + 1)`` rounded to the nearest, halves away from 0.

    The last bit is shifted out behind the rounding, so that nothing leaves int32.
    """
    return (((value + (value >> _int(31))) >> less_one) + _int(1)) >> _int(1)


def multiplied(value: tirx.Expr, multiplier: int, shift: int) -> tirx.Expr:
    """Return an int32 times a multiplier and a shift."""
    if shift > 0:
        value = value << _int(shift)
    high = high_product(value, _int(multiplier))
    return high if shift >= 0 else rounded_shift(high, _int(-shift - 1))


def _int(value: int) -> tirx.Expr:
    return tirx.const(value, "int32")


@dataclass(frozen=True)
class RequantizeFixed(OfOutput):
    """accumulator, shift of each channel --> integers of ``out``; the multipliers are int32.

    Attributes
    ----------
    shifts : the least and the greatest of the shifts.
    once : the product is rounded once, at the last bit of the result, halves upwards.
    """

    out: Output
    shifts: tuple[int, int]
    once: bool = False
    operands: int = 1

    def __call__(
        self,
        value: tirx.Expr,
        multiplier: tirx.Expr,
        index: Sequence[tirx.Expr],
        operands: Sequence[te.Tensor],
    ):
        shift = operands[0](index[-1])
        steps = (
            self._rounded_once(value, multiplier, shift)
            if self.once
            else self._rounded(value, multiplier, shift)
        )
        return narrowed(steps, self.out, self.out.zero_point)

    def _rounded(self, value: tirx.Expr, multiplier: tirx.Expr, shift: tirx.Expr) -> tirx.Expr:
        least, most = self.shifts
        if most > 0:
            value = value << tirx.max(shift, _int(0))
        high = high_product(value, multiplier)
        if least >= 0:
            return high
        if most < 0:
            return rounded_shift(high, _int(-1) - shift)
        return tirx.Select(shift < _int(0), rounded_shift(high, tirx.max(_int(-1) - shift, _int(0))), high)

    def _rounded_once(self, value: tirx.Expr, multiplier: tirx.Expr, shift: tirx.Expr) -> tirx.Expr:
        less_one = (_int(30) - shift).astype("int64")
        product = value.astype("int64") * multiplier.astype("int64")
        halves = (product >> less_one) + tirx.const(1, "int64")
        return (halves >> tirx.const(1, "int64")).astype("int32")


@dataclass(frozen=True)
class RoundedQuotient(OfOutput):
    """sum of a window --> its mean, an integer of ``out``, halves away from 0; the multiplier is their number."""

    out: Output
    operands: int = 0

    def __call__(
        self,
        value: tirx.Expr,
        multiplier: tirx.Expr,
        index: Sequence[tirx.Expr],
        operands: Sequence[te.Tensor],
    ):
        half = multiplier >> _int(1)
        mean = tirx.truncdiv(tirx.Select(value > _int(0), value + half, value - half), multiplier)
        return narrowed(mean, self.out)


def rescaled(data: te.Tensor, *, multiplier: int, shift: int) -> te.Tensor:
    """Return int32 data times a multiplier and a shift."""
    return te.compute(data.shape, lambda *i: multiplied(data(*i), multiplier, shift), name="rescaled")


def softmax(data: te.Tensor, exponentials: te.Tensor, *, out: Output, bits: int) -> te.Tensor:
    """Return the softmax of each row of 8-bit integers ``[..., K]``.

    Parameters
    ----------
    exponentials : int32 (256,): ``exp(-d * scale)``, in units of ``2**-31``, of the distance d to the row's maximum.
    bits : of the result's scale, which is ``2**-bits``.
    """
    *lead, inner = (int(extent) for extent in data.shape)
    attrs = {ROWS: len(lead)}
    k = te.reduce_axis((0, inner), "k")
    most = te.compute(
        tuple(lead), lambda *row: te.max(data(*row, k).astype("int32"), axis=[k]), name="most", attrs=attrs
    )

    def exponential(row: Sequence[tirx.Expr], place: tirx.Expr) -> tirx.Expr:
        return exponentials(most(*row) - data(*row, place).astype("int32"))

    step = te.reduce_axis((0, inner), "step")
    total = te.compute(
        tuple(lead),
        lambda *row: te.sum(rounded_shift(exponential(row, step), _int(11)), axis=[step]),
        name="total",
        attrs=attrs,
    )

    def of_rows(name: str, value: Callable[..., tirx.Expr]) -> te.Tensor:
        return te.compute(tuple(lead), value, name=name, attrs=attrs)

    zeros = of_rows("zeros", lambda *row: tirx.clz(total(*row)))
    # The total is 2**n * (1 + x), and its bits are those of (1 + x) / 2.
    half = of_rows("half", lambda *row: total(*row) << (zeros(*row) - _int(1)))
    scale = _reciprocal(half, of_rows)

    def body(*index: tirx.Expr) -> tirx.Expr:
        *row, place = index
        product = high_product(exponential(row, place), scale(*row))
        steps = rounded_shift(product, _int(12 + 30 - bits) - zeros(*row))
        return narrowed(steps, out, out.zero_point)

    return te.compute(data.shape, body, name="softmax", attrs=attrs)


def _reciprocal(half: te.Tensor, of_rows: Callable[..., te.Tensor]) -> te.Tensor:
    """Return ``1 / (1 + x)`` in units of ``2**-31``, by three steps of Newton's method, in units of ``2**-29``.

    ``half`` is ``(1 + x) / 2`` of x in [0, 1), in units of ``2**-31``. The steps are those of gemmlowp's
    ``one_over_one_plus_x_for_x_in_0_1``.
    """
    found = of_rows("start", lambda *row: _int(1515870810) + high_product(half(*row), _int(-1010580540)))
    for step in range(3):
        found = _nearer(half, found, of_rows, step)
    most = 2**30 - 1
    return of_rows(
        "reciprocal",
        lambda *row: tirx.Select(found(*row) > _int(most), _int(2**31 - 1), found(*row) << _int(1)),
    )


def _nearer(half: te.Tensor, found: te.Tensor, of_rows: Callable[..., te.Tensor], step: int) -> te.Tensor:
    rest = of_rows(f"rest_{step}", lambda *row: _int(2**29) - high_product(half(*row), found(*row)))
    return of_rows(
        f"found_{step}", lambda *row: found(*row) + (high_product(found(*row), rest(*row)) << _int(2))
    )
