"""What the lanes of a warp do together."""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ...targets.cuda.calls import device_value

WARP = 32

SHUFFLED = {"float32": "f32", "int32": "s32"}
"""Dtypes that lanes can exchange, as the device's functions are called by them."""


def combine_lanes(
    numbers: tirx.Buffer,
    place: tirx.Expr | int,
    combine: Callable[[tirx.Expr, tirx.Expr], tirx.Expr],
) -> None:
    """Emit the exchange after which each lane has, at a place of its own numbers, those of all lanes combined."""
    dtype = str(numbers.dtype)
    for mask in (16, 8, 4, 2, 1):
        other = device_value(dtype, f"shuffle_xor_{SHUFFLED[dtype]}", numbers[place], mask)
        T.buffer_store(numbers, combine(numbers[place], other), [place])
