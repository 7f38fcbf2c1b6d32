"""What a kernel does with its accumulator before anything goes to memory, as TE expressions.

Each epilogue turns an int32 accumulator (offset already added) of one element into that element of the result; the
arithmetic is that of ``passes.arithmetic``, whose functions name the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import te, tirx

from ..arithmetic import ACCUMULATOR_LIMIT, Addend, Output

Index = Sequence[tirx.Expr]


_MAGIC = 1.5 * 2**23
_MAGIC_BITS = 0x4B400000


def rounded(value: tirx.Expr, low: float, high: float, offset: int = 0) -> tirx.Expr:
    """Return ``offset`` + ``value`` rounded half to even and limited to [low, high], as int32.

    The limits come first: they are integers, so the result is the same. Then the numbers are below 2**22, and
    adding 1.5 * 2**23 leaves no bits for a fraction: the addition itself rounds, and the sum's bits are those of the
    constant plus the integer. Two instructions on any machine, where rounding and converting take three.
    """
    if max(abs(low), abs(high)) > 2**22:
        raise ValueError(f"the limits [{low}, {high}] leave the range that the rounding is made for")
    limited = tirx.max(tirx.min(value, tirx.const(high, "float32")), tirx.const(low, "float32"))
    bits = tirx.reinterpret("int32", limited + tirx.const(_MAGIC, "float32"))
    return bits + tirx.const(offset - _MAGIC_BITS, "int32")


def requantized(value: tirx.Expr, out: Output) -> tirx.Expr:
    """Return a float32 count of output steps as an integer of ``out``."""
    low, high = float(out.lower - out.zero_point), float(out.upper - out.zero_point)
    return rounded(value, low, high, out.zero_point).astype(out.dtype)


def shifted(total: tirx.Expr, shift: int, out: Output) -> tirx.Expr:
    """Return a fixed-point int32 sum as an integer of ``out`` (``arithmetic.shift_to``)."""
    half = tirx.const((1 << (shift - 1)) + (out.zero_point << shift), "int32")
    steps = (total + half) >> tirx.const(shift, "int32")
    limited = tirx.max(tirx.min(steps, tirx.const(out.upper, "int32")), tirx.const(out.lower, "int32"))
    return limited.astype(out.dtype)


def weighed(value: tirx.Expr, addend: Addend) -> tirx.Expr:
    """Return ``(value - zero_point) * multiplier`` (``arithmetic.weigh``)."""
    centred = value.astype("int32") - tirx.const(addend.zero_point, "int32")
    return centred * tirx.const(addend.multiplier, "int32")


@dataclass(frozen=True)
class Requantize:
    """accumulator --> integers of ``out``."""

    out: Output
    operands: int = 0

    @property
    def dtype(self) -> str:
        return self.out.dtype

    def __call__(self, value: tirx.Expr, multiplier: tirx.Expr, index: Index, operands: Sequence[te.Tensor]):
        return requantized(value.astype("float32") * multiplier, self.out)


@dataclass(frozen=True)
class RequantizeAdd:
    """accumulator, quantized residual of the result's shape --> integers of ``out``.

    The kernel's multipliers hold ``2**shift``.
    """

    out: Output
    residual: Addend
    shift: int
    operands: int = 1

    @property
    def dtype(self) -> str:
        return self.out.dtype

    def __call__(self, value: tirx.Expr, multiplier: tirx.Expr, index: Index, operands: Sequence[te.Tensor]):
        limit = float(ACCUMULATOR_LIMIT)
        own = rounded(value.astype("float32") * multiplier, -limit, limit)
        return shifted(own + weighed(operands[0](*index), self.residual), self.shift, self.out)


@dataclass(frozen=True)
class Dequantize:
    """accumulator --> float32, limited to [lower, upper] where a relu or clip is fused."""

    lower: float | None = None
    upper: float | None = None
    operands: int = 0
    dtype: str = "float32"

    def __call__(self, value: tirx.Expr, multiplier: tirx.Expr, index: Index, operands: Sequence[te.Tensor]):
        result = value.astype("float32") * multiplier
        if self.upper is not None:
            result = tirx.min(result, tirx.const(self.upper, "float32"))
        if self.lower is not None:
            result = tirx.max(result, tirx.const(self.lower, "float32"))
        return result


Epilogue = Requantize | RequantizeAdd | Dequantize
