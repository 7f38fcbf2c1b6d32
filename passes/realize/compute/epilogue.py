"""What a kernel does with its accumulator before anything goes to memory, as TE expressions.

Each epilogue turns an int32 accumulator (offset already added) of one element into that element of the result; the
arithmetic is that of ``passes.hub.arithmetic``, whose functions name the steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tvm import te, tirx

from ....targets.row import ConvertBy
from ...hub.arithmetic import ACCUMULATOR_LIMIT, INT32_MAX, Addend, Output, bounds_of

Index = Sequence[tirx.Expr]

_SHIFT = 1.5 * 2.0**23
_SHIFT_BITS = 0x4B400000
"""Those of ``_SHIFT``."""

_EXACT = 2**22 - 1
"""Magnitude up to which integers and floats become one another by adding ``_SHIFT``, a zero point included."""

_BEYOND = 2.0 * ACCUMULATOR_LIMIT
"""Where floats are limited before they become integers; those of that magnitude are limited again, further down."""


@dataclass(frozen=True)
class Conversion:
    """How int32 and float32 become one another, and what is known of the numbers.

    Attributes
    ----------
    by : the target's way.
    largest : no integer that becomes a float has a greater magnitude.
    largest_rounded : no float that becomes an integer has.
    from_offset : the integers that become floats are sums that start from the result of ``start``.

    From 2**23 to 2**24 a float32 has no bits behind the point: the bits of 1.5 * 2**23 plus an integer of up to 2**22
    are those of their sum as a float, and adding a number to it rounds that, half to even.
    """

    by: ConvertBy = ConvertBy.INSTRUCTION
    largest: float = math.inf
    largest_rounded: float = math.inf
    from_offset: bool = False

    @property
    def _is_float(self) -> bool:
        return self.by is not ConvertBy.INSTRUCTION and self.largest <= _EXACT

    def start(self, offset: np.ndarray) -> np.ndarray:
        """Return where sums with this offset (int32) start, so that they take the least to become floats."""
        return offset + np.int32(_SHIFT_BITS) if self.from_offset and self._is_float else offset

    def to_float(self, value: tirx.Expr) -> tirx.Expr:
        """Return an int32 as float32."""
        if not self._is_float:
            return value.astype("float32")
        if not self.from_offset:
            value = value + tirx.const(_SHIFT_BITS, "int32")
        return tirx.reinterpret("float32", value) - _float(_SHIFT)

    def to_int(self, value: tirx.Expr) -> tirx.Expr:
        """Return a float32 as the nearest int32, half to even, limited to a magnitude that is beyond any use.

        LLVM has both in one as an operation that TVM's vectorizer passes through, unlike ``nearbyint``, which it takes
        apart into scalars. Outside of int32 it gives just anything, so the limits come first where there may be such.
        """
        if self.by is ConvertBy.ADDITION:
            return tirx.reinterpret("int32", self._shifted(value, 0)) - tirx.const(_SHIFT_BITS, "int32")
        if self.largest_rounded > INT32_MAX / 2:  # a float32 is off by less than the half that is kept free
            value = _limited(value, -_BEYOND, _BEYOND)
        if self.by is ConvertBy.DEVICE:
            return self._by_device(value)
        return tirx.call_llvm_pure_intrin("int32", "llvm.lrint", value)

    def to_output(self, value: tirx.Expr, out: Output) -> tirx.Expr:
        """Return a float32 count of output steps as an integer of ``out``."""
        added, rest = _parts_of(out.zero_point)
        if self.by is ConvertBy.DEVICE:  # limits are integers, so it makes no difference that they come first
            limits = out.lower - out.zero_point, out.upper - out.zero_point
            words = tirx.reinterpret("int32", _limited(value, *limits) + _float(_SHIFT + added))
            return (words + tirx.const(rest, "int32") if rest else words).astype(out.dtype)
        if (
            self.by is ConvertBy.INSTRUCTION
            or self.largest_rounded + abs(out.zero_point) > bounds_of("int16")[1]
        ):
            return narrowed(self.to_int(value), out, out.zero_point)
        # The lower half of the bits is the integer.
        words = tirx.reinterpret("int32", self._shifted(value, added)).astype("int16")
        return _bounded(words, out, rest)

    def _by_device(self, value: tirx.Expr) -> tirx.Expr:
        """Return the nearest integer: a GPU has few units that convert, and its compiler contracts nothing here."""
        if self.largest_rounded <= _EXACT:
            return tirx.reinterpret("int32", value + _float(_SHIFT)) - tirx.const(_SHIFT_BITS, "int32")
        return tirx.call_pure_extern("int32", "tvmq_round_to_int", value)

    def _shifted(self, value: tirx.Expr, added: int) -> tirx.Expr:
        # Something must keep LLVM from making one operation, which rounds once, of this addition and a product before
        # it. Its vectorizer knows no fence, but the kernels of sums are vectors when they come to it.
        if self.from_offset and self.largest_rounded <= _EXACT:
            value = tirx.call_llvm_pure_intrin("float32", "llvm.arithmetic.fence", value)
        else:
            value = _limited(value, -_BEYOND, _BEYOND)
        return value + _float(_SHIFT + added)


def _parts_of(zero_point: int) -> tuple[int, int]:
    """Return what of a zero point may be added before rounding, and the rest: even ones leave ties where they are."""
    return (0, zero_point) if zero_point % 2 else (zero_point, 0)


def _float(value: float) -> tirx.Expr:
    return tirx.const(value, "float32")


def narrowed(value: tirx.Expr, out: Output, zero_point: int = 0) -> tirx.Expr:
    """Return ``value + zero_point`` limited to the bounds of ``out``, in its dtype, from int32.

    By way of int16, to whose ends it is limited first: that and the narrowing are one instruction for two vectors,
    and what follows works on half as many. The bounds lie so far inside of int16 that the result is the same.
    """
    return _bounded(_limited(value, *bounds_of("int16")).astype("int16"), out, zero_point)


def _bounded(words: tirx.Expr, out: Output, zero_point: int) -> tirx.Expr:
    """Return int16 numbers plus ``zero_point``, limited to the bounds of ``out``, in its dtype."""
    if zero_point:
        words = tirx.call_llvm_pure_intrin("int16", "llvm.sadd.sat", words, tirx.const(zero_point, "int16"))
    return _limited(words, out.lower, out.upper).astype(out.dtype)


def _limited(value: tirx.Expr, low: float, high: float) -> tirx.Expr:
    return tirx.max(tirx.min(value, tirx.const(high, str(value.ty))), tirx.const(low, str(value.ty)))


def shifted(total: tirx.Expr, shift: int, out: Output) -> tirx.Expr:
    """Return a fixed-point int32 sum as an integer of ``out`` (``arithmetic.shift_to``)."""
    half = tirx.const((1 << (shift - 1)) + (out.zero_point << shift), "int32")
    return narrowed((total + half) >> tirx.const(shift, "int32"), out)


def weighed(value: tirx.Expr, addend: Addend) -> tirx.Expr:
    """Return ``(value - zero_point) * multiplier`` (``arithmetic.weigh``)."""
    centred = value.astype("int32") - tirx.const(addend.zero_point, "int32")
    return centred * tirx.const(addend.multiplier, "int32")


class OfOutput:
    """An epilogue whose result is integers of ``out``."""

    out: Output

    @property
    def dtype(self) -> str:
        return self.out.dtype


@dataclass(frozen=True)
class Requantize(OfOutput):
    """accumulator --> integers of ``out``."""

    out: Output
    conversion: Conversion = Conversion()
    operands: int = 0

    def __call__(self, value: tirx.Expr, multiplier: tirx.Expr, index: Index, operands: Sequence[te.Tensor]):
        return self.conversion.to_output(self.conversion.to_float(value) * multiplier, self.out)


@dataclass(frozen=True)
class RequantizeAdd(OfOutput):
    """accumulator, quantized residual of the result's shape --> integers of ``out``.

    The kernel's multipliers hold ``2**shift``.
    """

    out: Output
    residual: Addend
    shift: int
    conversion: Conversion = Conversion()
    operands: int = 1

    def __call__(self, value: tirx.Expr, multiplier: tirx.Expr, index: Index, operands: Sequence[te.Tensor]):
        steps = self.conversion.to_int(self.conversion.to_float(value) * multiplier)
        own = _limited(steps, -ACCUMULATOR_LIMIT, ACCUMULATOR_LIMIT)
        return shifted(own + weighed(operands[0](*index), self.residual), self.shift, self.out)


@dataclass(frozen=True)
class Dequantize:
    """accumulator --> float32, limited to [lower, upper] where a relu or clip is fused."""

    lower: float | None = None
    upper: float | None = None
    conversion: Conversion = Conversion()
    operands: int = 0
    dtype: str = "float32"

    def __call__(self, value: tirx.Expr, multiplier: tirx.Expr, index: Index, operands: Sequence[te.Tensor]):
        result = self.conversion.to_float(value) * multiplier
        if self.upper is not None:
            result = tirx.min(result, tirx.const(self.upper, "float32"))
        if self.lower is not None:
            result = tirx.max(result, tirx.const(self.lower, "float32"))
        return result


@dataclass(frozen=True)
class DequantizeRows:
    """accumulator, scale of each row [, zero point of each row, sum of each column] [, bias] --> float32.

    Scales and zero points whose extents are 1 are those of all rows. The multipliers are the columns' scales:
    ``arithmetic.scale_rows``.

    Attributes
    ----------
    has_zero_points : rows have zero points, and the sums of the columns' weights, int32, tell what they add.
    """

    has_zero_points: bool = False
    has_bias: bool = False
    conversion: Conversion = Conversion()
    dtype: str = "float32"

    @property
    def operands(self) -> int:
        return 1 + 2 * self.has_zero_points + self.has_bias

    def __call__(self, value: tirx.Expr, multiplier: tirx.Expr, index: Index, operands: Sequence[te.Tensor]):
        *row, column = index
        if self.has_zero_points:
            value = value - _of_row(operands[1], row).astype("int32") * operands[2](column)
        result = self.conversion.to_float(value) * _of_row(operands[0], row) * multiplier
        if not self.has_bias:
            return result
        if self.conversion.by is not ConvertBy.DEVICE:  # nvcc is told to contract nothing; LLVM would
            result = tirx.call_llvm_pure_intrin("float32", "llvm.arithmetic.fence", result)
        return result + operands[-1](column)


@dataclass(frozen=True)
class WithRowSums:
    """accumulator, sum of each row of data times a number --> what another epilogue makes of both together.

    The sums, int32, are the last operand: of what a row, or pixel, of the result has read.
    """

    inner: Epilogue

    @property
    def operands(self) -> int:
        return self.inner.operands + 1

    @property
    def dtype(self) -> str:
        return self.inner.dtype

    def __call__(self, value: tirx.Expr, multiplier: tirx.Expr, index: Index, operands: Sequence[te.Tensor]):
        *own, sums = operands
        return self.inner(value + sums(*index[:-1]), multiplier, index, own)


def _of_row(tensor: te.Tensor, row: Index) -> tirx.Expr:
    return tensor(*(0 if int(extent) == 1 else at for at, extent in zip(row, tensor.shape, strict=True)))


class Epilogue(Protocol):
    """What turns an accumulator into an element of the result, of ``dtype``, with so many tensors beside it."""

    @property
    def dtype(self) -> str: ...

    @property
    def operands(self) -> int: ...

    def __call__(
        self, value: tirx.Expr, multiplier: tirx.Expr, index: Index, operands: Sequence[te.Tensor]
    ) -> tirx.Expr: ...


Converted = Requantize | RequantizeAdd | Dequantize
"""Those of one conversion, by way of floats."""
