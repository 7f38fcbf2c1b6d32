"""Products of one-bit numbers, four at a time: what they are, and the table in which instructions look them up.

An activation or a weight of one bit is -1 (0) or 1 (1). Four activations of a pixel are a *code*, four weights a number
from 0 to 15, and the sum of their four products is one of 16 entries of the code's part of a table:

    code           what it stands for                        sum of products with weights w
    16 b           four bits b                               4 - 2 * ones(b xor w)
    256            padding of value 0                        0
    512 + 16 b     the last bits of a pixel, ``tail`` of 4   tail - 2 * ones(b xor w), other bits of b and w being 0

The sums of an even number of products are even, so tables hold half of them where all are: twice as many fit a byte.
"""

from __future__ import annotations

import numpy as np
from tvm import tirx
from tvm.script import tirx as T

DEPTH = 4
"""Products of a look-up."""
PADDING = 256
TAIL = 512
"""Codes of padding, and from which on those of the last bits are."""
_ENTRIES = 16


def unit_of(tail: int) -> int:
    """Return what an entry counts: 2, or 1 where sums can be odd. ``tail`` is 0 where there are no last bits."""
    return 1 if tail % 2 else 2


def product(code: tirx.Expr, weight: tirx.Expr, tail: int) -> tirx.Expr:
    """Return the entry of a code, uint16, for four weights, uint8 from 0 to 15, as int8."""
    bits = T.cast(T.shift_right(code, T.uint16(4)), "uint8") & T.uint8(15)
    ones = T.cast(T.popcount(bits ^ weight), "int8")
    unit = unit_of(tail)
    full = T.int8(DEPTH // unit) - ones * T.int8(2 // unit)
    sums = T.Select(code < T.uint16(PADDING), full, T.int8(0))
    if not tail:
        return sums
    last = T.int8(tail // unit) - ones * T.int8(2 // unit)
    return T.Select(code >= T.uint16(TAIL), last, sums)


def table(tail: int) -> np.ndarray:
    """Return the entries, int8 ``[code + weight]``."""
    numbers = np.arange(_ENTRIES)
    ones = np.array([[int(bits ^ weight).bit_count() for weight in numbers] for bits in numbers])
    parts = [DEPTH - 2 * ones, np.zeros((PADDING // _ENTRIES, _ENTRIES), int)]
    if tail:
        parts.append(tail - 2 * ones)
    return (np.concatenate(parts) // unit_of(tail)).astype(np.int8).reshape(-1)


def packed_byte(bits: list[tirx.Expr]) -> tirx.Expr:
    """Return eight conditions as a byte, the first in its lowest bit."""
    byte = T.uint8(0)
    for place, condition in enumerate(bits):
        byte = byte | T.Select(condition, T.uint8(1 << place), T.uint8(0))
    return byte
