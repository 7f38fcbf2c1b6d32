"""bfloat16 as its bits, uint16: TVM has no vectors of the type for LLVM, and integers go everywhere.

float32  --(to_bits: round to nearest, ties to even)-->  uint16  --(from_bits: 16 zeros behind)-->  float32
"""

from __future__ import annotations

import numpy as np
from tvm import tirx

BFLOAT16 = "bfloat16"
STORED = "uint16"
_QUIET_NAN = 0x7FC0


def stored_dtype(dtype: str) -> str:
    """Return the dtype of a buffer that holds numbers of this one."""
    return STORED if dtype == BFLOAT16 else dtype


def convert(value: tirx.Expr, dtype: str) -> tirx.Expr:
    """Return the number in another dtype; a float32 in bfloat16 as its bits."""
    return to_bits(value) if dtype == BFLOAT16 else value.astype(dtype)


def widened(value: tirx.Expr, dtype: str) -> tirx.Expr:
    """Return the number in the dtype of the accumulator."""
    return from_bits(value) if str(value.ty) == STORED else value.astype(dtype)


def to_bits(value: tirx.Expr) -> tirx.Expr:
    """Return the bfloat16 nearest to a float32."""
    bits = tirx.reinterpret("uint32", value)
    odd = (bits >> tirx.const(16, "uint32")) & tirx.const(1, "uint32")
    rounded = (bits + odd + tirx.const(0x7FFF, "uint32")) >> tirx.const(16, "uint32")
    # The carry of a NaN could make a number of it.
    kept = tirx.Select(value.equal(value), rounded, tirx.const(_QUIET_NAN, "uint32"))
    return kept.astype(STORED)


def from_bits(bits: tirx.Expr) -> tirx.Expr:
    """Return the float32 that a bfloat16 is."""
    return tirx.reinterpret("float32", bits.astype("uint32") << tirx.const(16, "uint32"))


def bits_of(values: np.ndarray) -> np.ndarray:
    """Return float32 numbers as the bits of the nearest bfloat16, uint16 of the same shape."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + ((bits >> 16) & 1) + np.uint32(0x7FFF)) >> 16
    return np.where(np.isnan(values), _QUIET_NAN, rounded).astype(STORED)
