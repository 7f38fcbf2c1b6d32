"""What a kernel does with its accumulator before anything goes to memory, as TE expressions.

Each epilogue turns an int32 accumulator (offset already added) of one element into that element of the result; the
arithmetic is that of ``passes.hub.arithmetic``, whose functions name the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import te, tirx

from ...hub.arithmetic import ACCUMULATOR_LIMIT, Addend, Output, bounds_of

Index = Sequence[tirx.Expr]


def rounded(value: tirx.Expr, in_range: bool = False) -> tirx.Expr:
    """Return a float32 as the nearest int32, half to even, limited to a magnitude that is beyond any use.

    One conversion instruction does both. LLVM has it as an operation that TVM's vectorizer passes through, unlike
    ``nearbyint``, which it takes apart into scalars. Outside of int32 it gives just anything, so the limits come
    first, unless the value is known to be ``in_range``.
    """
    if not in_range:
        limit = float(2 * ACCUMULATOR_LIMIT)
        value = _limited(value, -limit, limit)
    return tirx.call_llvm_pure_intrin("int32", "llvm.lrint", value)


def narrowed(value: tirx.Expr, out: Output, zero_point: int = 0) -> tirx.Expr:
    """Return ``value + zero_point`` limited to the bounds of ``out``, in its dtype, from int32.

    By way of int16, to whose ends it is limited first: that and the narrowing are one instruction for two vectors,
    and what follows works on half as many. The bounds lie so far inside of int16 that the result is the same.
    """
    words = _limited(value, *bounds_of("int16")).astype("int16")
    if zero_point:
        words = tirx.call_llvm_pure_intrin("int16", "llvm.sadd.sat", words, tirx.const(zero_point, "int16"))
    return _limited(words, out.lower, out.upper).astype(out.dtype)


def _limited(value: tirx.Expr, low: float, high: float) -> tirx.Expr:
    return tirx.max(tirx.min(value, tirx.const(high, str(value.ty))), tirx.const(low, str(value.ty)))


def requantized(value: tirx.Expr, out: Output, in_range: bool = False) -> tirx.Expr:
    """Return a float32 count of output steps as an integer of ``out``; ``in_range`` as for ``rounded``."""
    return narrowed(rounded(value, in_range), out, out.zero_point)


def shifted(total: tirx.Expr, shift: int, out: Output) -> tirx.Expr:
    """Return a fixed-point int32 sum as an integer of ``out`` (``arithmetic.shift_to``)."""
    half = tirx.const((1 << (shift - 1)) + (out.zero_point << shift), "int32")
    return narrowed((total + half) >> tirx.const(shift, "int32"), out)


def weighed(value: tirx.Expr, addend: Addend) -> tirx.Expr:
    """Return ``(value - zero_point) * multiplier`` (``arithmetic.weigh``)."""
    centred = value.astype("int32") - tirx.const(addend.zero_point, "int32")
    return centred * tirx.const(addend.multiplier, "int32")


@dataclass(frozen=True)
class Requantize:
    """accumulator --> integers of ``out``.

    ``in_range`` says that no accumulator times its multiplier leaves int32.
    """

    out: Output
    in_range: bool = False
    operands: int = 0

    @property
    def dtype(self) -> str:
        return self.out.dtype

    def __call__(self, value: tirx.Expr, multiplier: tirx.Expr, index: Index, operands: Sequence[te.Tensor]):
        return requantized(value.astype("float32") * multiplier, self.out, self.in_range)


@dataclass(frozen=True)
class RequantizeAdd:
    """accumulator, quantized residual of the result's shape --> integers of ``out``.

    The kernel's multipliers hold ``2**shift``; ``in_range`` as for ``Requantize``.
    """

    out: Output
    residual: Addend
    shift: int
    in_range: bool = False
    operands: int = 1

    @property
    def dtype(self) -> str:
        return self.out.dtype

    def __call__(self, value: tirx.Expr, multiplier: tirx.Expr, index: Index, operands: Sequence[te.Tensor]):
        steps = rounded(value.astype("float32") * multiplier, self.in_range)
        own = _limited(steps, -ACCUMULATOR_LIMIT, ACCUMULATOR_LIMIT)
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
