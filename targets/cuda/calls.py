"""Calls of the functions of ``device.cuh``, by which kernels touch the machine."""

from __future__ import annotations

from tvm import tirx
from tvm.script.ir_builder import tirx as T

PREFIX = "tvmq_"
SHORT_DTYPE = {"uint8": "u8", "int8": "s8"}
"""How the names of functions say what they multiply."""


def device_call(name: str, *arguments: tirx.Expr | int) -> None:
    """Emit a call of a function without a result."""
    T.evaluate(T.call_extern("void", PREFIX + name, *arguments))


def device_value(dtype: str, name: str, *arguments: tirx.Expr | int) -> tirx.Expr:
    """Return what a function returns."""
    return T.call_extern(dtype, PREFIX + name, *arguments)
