"""``QuantizeLinear`` and ``DequantizeLinear`` of operator sets 10 to 25.

    q = saturate(round_half_even(x / scale) + zero_point)          x = (q - zero_point) * scale

with one scale for the tensor, one for each place on an axis, or one for each block of places. Integers of 4 and 2 bits
are stored in 8, and what leaves their range is clipped before it is rounded, as the passes expect.
Definition: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
from ..low_bit import places_of_blocks
from ..tensors import NARROW, storage_of

ROUNDED = ("int8", "uint8", "int16", "uint16", "int32")
"""What values are quantized to, beside the dtypes of fewer bits."""


class DequantizeLinear(stock.OnnxOpConverter):
    """In float32, as the passes know it, and then in the dtype of the scale or the one that is asked for."""

    @classmethod
    def _impl_v10(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        q, scale, zero_point = [*inputs, None, None][:3]
        dtype = _output_dtype(attr) or dtype_of(scale)
        axis, block = _axis(attr, q), attr.get("block_size", 0)
        scale = _as(bb, scale, "float32")
        if block:
            scale = _spread(bb, scale, q, axis, block, "scale")
            value = _as(bb, q, "float32")
            if zero_point is not None:
                zeros = _spread(bb, _as(bb, zero_point, "float32"), q, axis, block, "zero point")
                value = bb.emit(relax.op.subtract(value, zeros))
            result = relax.op.multiply(value, scale)
        else:
            zero_point = relax.const(0, dtype_of(q)) if zero_point is None else zero_point
            result = relax.op.dequantize(q, scale, zero_point, axis=axis, out_dtype="float32")
        return result if dtype == "float32" else relax.op.astype(bb.emit(result), dtype)


class QuantizeLinear(stock.OnnxOpConverter):
    """In float32, as the passes know it, whatever the dtype of values and scale."""

    @classmethod
    def _impl_v10(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        x, scale, zero_point = [*inputs, None, None][:3]
        dtype = _output_dtype(attr) or ("uint8" if zero_point is None else dtype_of(zero_point))
        if dtype not in NARROW and dtype not in ROUNDED:
            raise ValueError(
                f"values cannot be quantized to {dtype}; valid: {', '.join((*ROUNDED, *NARROW))}"
            )
        stored = storage_of(dtype)
        if zero_point is not None and dtype_of(zero_point) != stored:
            raise ValueError(f"its zero point is {dtype_of(zero_point)}, and its output {dtype}")
        x, scale = _as(bb, x, "float32"), _as(bb, scale, "float32")
        axis, block = _axis(attr, x), attr.get("block_size", 0)
        if block:
            return _by_blocks(bb, x, scale, zero_point, axis, block, dtype)
        zero_point = relax.const(0, stored) if zero_point is None else zero_point
        return quantized(bb, x, scale, zero_point, axis, stored, NARROW.get(dtype))


def quantized(
    bb: relax.BlockBuilder, x: relax.Expr, scale: relax.Expr, zero_point: relax.Expr, axis: int, dtype: str,
    limits: tuple[int, int] | None = None,
) -> relax.Expr:  # fmt: skip
    """Return float32 values as integers of a dtype, within limits where those are narrower than it.

    With one scale that is known the values are limited in front, as the passes expect it of fewer bits.
    """
    if limits is None:
        return relax.op.quantize(x, scale, zero_point, axis=axis, out_dtype=dtype)
    low, high = limits
    if is_constant(scale) and is_constant(zero_point) and to_numpy(scale).size == 1:
        step, zero = float(to_numpy(scale).reshape(())), int(to_numpy(zero_point).reshape(()))
        x = bb.emit(relax.op.clip(x, (low - zero) * step, (high - zero) * step))
        return relax.op.quantize(x, scale, zero_point, axis=axis, out_dtype=dtype)
    q = bb.emit(relax.op.quantize(x, scale, zero_point, axis=axis, out_dtype=dtype))
    at_least = bb.emit(relax.op.maximum(q, relax.const(low, dtype)))
    return relax.op.minimum(at_least, relax.const(high, dtype))


def _by_blocks(
    bb, x: relax.Expr, scale: relax.Expr, zero_point: relax.Expr | None, axis: int, block: int, dtype: str
) -> relax.Expr:
    low, high = NARROW.get(dtype) or (np.iinfo(dtype).min, np.iinfo(dtype).max)
    value = bb.emit(relax.op.round(bb.emit(relax.op.divide(x, _spread(bb, scale, x, axis, block, "scale")))))
    if zero_point is not None:
        zeros = _spread(bb, _as(bb, zero_point, "float32"), x, axis, block, "zero point")
        value = bb.emit(relax.op.add(value, zeros))
    return relax.op.astype(bb.emit(relax.op.clip(value, low, high)), storage_of(dtype))


def _spread(bb, values: relax.Expr, like: relax.Expr, axis: int, block: int, what: str) -> relax.Expr:
    """Return the scale or zero point of each element's block; raise ``ValueError`` where the blocks are others."""
    shape = shape_of(like)
    if block < 0 or not -len(shape) <= axis < len(shape):
        raise ValueError(f"block_size {block} and axis {axis} do not fit the shape {list(shape)}")
    places = places_of_blocks(shape, axis, block, shape_of(values), what)
    if is_constant(values):
        return constant(np.take(to_numpy(values), places, axis))
    return bb.emit(relax.op.take(values, constant(places.astype(np.int64)), axis))


def _axis(attr: dict[str, Any], value: relax.Expr) -> int:
    axis = attr.get("axis", 1)
    return 0 if axis == 1 and len(shape_of(value)) <= 1 else axis


def _output_dtype(attr: dict[str, Any]) -> str:
    """Return the dtype that is asked for, ``""`` where none is."""
    asked = attr.get("output_dtype", 0)
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(asked)).name if asked else ""


def _as(bb, value: relax.Expr, dtype: str) -> relax.Expr:
    if is_constant(value):
        return constant(to_numpy(value).astype(dtype))
    return value if dtype_of(value) == dtype else bb.emit(relax.op.astype(value, dtype))
