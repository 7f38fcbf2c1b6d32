"""ONNX's Clip: min(max(x, low), high), for any dtype and bounds of any kind.

    Clip(x, 0, 6)                  -->  clip(x, 0, 6)
    Clip(constant, low, high)      -->  constant
    Clip(quantize(x), low, high)   -->  quantize(clip(x, dequantized low, dequantized high))

The last is how Brevitas writes integers of fewer than 8 bits. In its second form it is what the passes know: a clip in
float, behind which ``quantize`` gives the same integers, since both are monotonic and the bounds lie on integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import constant, dtype_of, is_constant, op_name, to_numpy

Inputs = list[relax.Expr | None]
Attributes = dict[str, Any]


class Clip(stock.OnnxOpConverter):
    """See the module."""

    @classmethod
    def _impl_v1(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        return _clip_float(inputs[0], attr.get("min", -np.inf), attr.get("max", np.inf))

    @classmethod
    def _impl_v11(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        data, low, high = inputs[0], inputs[1], inputs[2]
        bounds = [bound for bound in (low, high) if bound is not None]
        if not all(is_constant(bound) for bound in bounds):
            return _clip_by(bb, data, low, high)
        if is_constant(data):
            return constant(_clipped(to_numpy(data), low, high))
        if dtype_of(data).startswith("float"):
            return _clip_float(
                data,
                -np.inf if low is None else to_numpy(low).item(),
                np.inf if high is None else to_numpy(high).item(),
            )
        quantized = bb.lookup_binding(data) if isinstance(data, relax.Var) else None
        is_quantizer = quantized is not None and op_name(quantized) == "relax.quantize"
        clipped = _clip_before(bb, quantized, low, high) if is_quantizer else None
        return _clip_by(bb, data, low, high) if clipped is None else clipped


def _clipped(values: np.ndarray, low: relax.Expr | None, high: relax.Expr | None) -> np.ndarray:
    values = values if low is None else np.fmax(values, to_numpy(low))
    return values if high is None else np.fmin(values, to_numpy(high))


def _clip_by(bb, data: relax.Expr, low: relax.Expr | None, high: relax.Expr | None) -> relax.Expr:
    for bound, operator in ((low, relax.op.maximum), (high, relax.op.minimum)):
        if bound is not None:
            data = bb.normalize(operator(data, bb.normalize(relax.op.reshape(bound, ()))))
    return data


def _clip_float(data: relax.Expr, low: float, high: float) -> relax.Expr:
    # ONNX takes a NaN bound for none, and lets the upper bound win where the two cross.
    low = -np.inf if np.isnan(low) else low
    high = np.inf if np.isnan(high) else high
    low = min(low, high)
    if np.isinf(low) and np.isinf(high):
        return data
    if np.isinf(high):
        return relax.op.maximum(data, relax.const(low, dtype_of(data)))
    if np.isinf(low):
        return relax.op.minimum(data, relax.const(high, dtype_of(data)))
    return relax.op.clip(data, low, high)


def _clip_before(
    bb, quantized: relax.Call, low: relax.Expr | None, high: relax.Expr | None
) -> relax.Expr | None:
    """Return the quantizer behind a clip of floats; None where its parameters are not those of a whole tensor."""
    data, scale, zero_point = quantized.args
    if not all(is_constant(value) and to_numpy(value).size == 1 for value in (scale, zero_point)):
        return None
    info = np.iinfo(str(quantized.attrs.out_dtype))
    bounds = [
        int(limit if bound is None else to_numpy(bound).item())
        for bound, limit in ((low, info.min), (high, info.max))
    ]
    # In float32, as DequantizeLinear has it.
    floats = [
        float(
            (np.float32(bound) - np.float32(to_numpy(zero_point).item())) * np.float32(to_numpy(scale).item())
        )
        for bound in bounds
    ]
    clipped = bb.emit(_clip_float(data, *floats))
    attrs = quantized.attrs
    return relax.op.quantize(clipped, scale, zero_point, axis=attrs.axis, out_dtype=str(attrs.out_dtype))
