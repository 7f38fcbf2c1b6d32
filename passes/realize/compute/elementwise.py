"""Integer operators that work element by element, and the quantize and dequantize at their borders.

The arithmetic is that of ``passes.hub.arithmetic``.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx

from ...hub.arithmetic import Addend, Output
from .annotations import KERNEL
from .epilogue import Conversion, shifted, weighed


def _broadcast(tensor: te.Tensor, index: Sequence[tirx.Expr]) -> tirx.Expr:
    """Return the element of ``tensor`` that NumPy's broadcasting puts at ``index``."""
    own = index[len(index) - len(tensor.shape) :]
    return tensor(
        *(position if int(extent) != 1 else 0 for position, extent in zip(own, tensor.shape, strict=True))
    )


def _joint_shape(tensors: Sequence[te.Tensor]) -> list[int]:
    rank = max(len(tensor.shape) for tensor in tensors)
    shapes = [[1] * (rank - len(tensor.shape)) + [int(e) for e in tensor.shape] for tensor in tensors]
    return [max(extents) for extents in zip(*shapes, strict=True)]


def quantize(data: te.Tensor, scale: float, out: Output, conversion: Conversion) -> te.Tensor:
    """Return float32 ``data`` as integers: ``clamp(rint(data / scale) + zero_point)``."""
    divisor = tirx.const(scale, "float32")
    return te.compute(data.shape, lambda *i: conversion.to_output(data(*i) / divisor, out), name="quantized")


def dequantize(data: te.Tensor, scale: float, zero_point: int) -> te.Tensor:
    """Return integers as float32: ``(data - zero_point) * scale``."""
    factor = tirx.const(scale, "float32")
    zero = tirx.const(zero_point, "int32")
    return te.compute(
        data.shape,
        lambda *i: (data(*i).astype("int32") - zero).astype("float32") * factor,
        name="dequantized",
    )


def move_range(data: te.Tensor, shift: int, dtype: str) -> te.Tensor:
    """Return ``data + shift`` in ``dtype``: the same numbers between uint8 and int8."""
    amount = tirx.const(shift, "int32")
    return te.compute(data.shape, lambda *i: (data(*i).astype("int32") + amount).astype(dtype), name="moved")


def look_up(data: te.Tensor, table: te.Tensor) -> te.Tensor:
    """Return ``table[data]``, of the table's dtype.

    ``data`` is uint8, or int8, whose value ``v`` finds its entry at ``v + 128``; ``table`` has 256 entries.
    """
    bias = 128 if data.dtype == "int8" else 0

    def body(*index: tirx.Expr) -> tirx.Expr:
        entry = data(*index).astype("int32")
        return table(entry + bias if bias else entry)

    return te.compute(data.shape, body, name="looked_up", attrs={KERNEL: "table"})


def add(*tensors: te.Tensor, addends: tuple[Addend, ...], shift: int, out: Output) -> te.Tensor:
    """Return the fixed-point sum of quantized tensors, broadcast together (``arithmetic.shift_to``)."""

    def body(*index: tirx.Expr) -> tirx.Expr:
        terms = [
            weighed(_broadcast(tensor, index), addend)
            for tensor, addend in zip(tensors, addends, strict=True)
        ]
        return shifted(sum(terms[1:], terms[0]), shift, out)

    return te.compute(_joint_shape(tensors), body, name="added")


def multiply(
    left: te.Tensor,
    right: te.Tensor,
    zero_points: tuple[int, int],
    multiplier: float,
    out: Output,
    conversion: Conversion,
) -> te.Tensor:
    """Return the product of two quantized tensors, broadcast together.

    ``requantize((left - zero_left) * (right - zero_right), multiplier)`` with the product in int32.
    """

    def body(*index: tirx.Expr) -> tirx.Expr:
        factors = [
            _broadcast(tensor, index).astype("int32") - tirx.const(zero_point, "int32")
            for tensor, zero_point in zip((left, right), zero_points, strict=True)
        ]
        product = conversion.to_float(factors[0] * factors[1])
        return conversion.to_output(product * tirx.const(multiplier, "float32"), out)

    return te.compute(_joint_shape([left, right]), body, name="multiplied")
