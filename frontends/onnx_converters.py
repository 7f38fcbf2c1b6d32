"""ONNX operators that TVM's importer lacks, or whose conversion hides what the passes look for.

Each class converts one ONNX operator, here or in a module of its own; the table ``CONVERTERS`` at the end
lists them all. An instance method never runs: TVM picks the ``_impl_vN`` of the largest version N up to the
model's opset.

| operator | here | in TVM's importer |
|---|---|---|
| Clip | ``relax.clip`` | an opaque TIR function |
| Conv | pads explicit, bias a constant of shape (1, C, 1, ...) | ``auto_pad`` as an opaque TIR function |
| Pad | ``relax.nn.pad`` | an opaque TIR function |
| Dropout | its input, as in inference | an operator that cannot be lowered |
| BatchNormalization | refused in training mode | taken for one in inference |
| Constant | ``value_float``, ``value_ints``, ... too | ``value`` only |
| LayerNormalization | its mean and deviation too | zeros |
| Pow | an exponent of another dtype | refused |
| Resize, Upsample | every mode | some modes, some of them wrong |
| QLinearConv, QLinearMatMul | dequantize, the float operator, quantize | missing |
| ConvInteger | a convolution of int32 | missing |
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ..passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
from .onnx_basic import BatchNormalization, Constant, LayerNormalization, Pow
from .onnx_resize import Resize, Upsample

Inputs = list[relax.Expr | None]
Attributes = dict[str, Any]


class Clip(stock.Clip):
    """min(max(x, low), high), as ``relax.clip`` where the bounds are constant and the values float."""

    @classmethod
    def _impl_v1(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        return cls._clip(inputs[0], attr.get("min", -np.inf), attr.get("max", np.inf))

    @classmethod
    def _impl_v13(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        data, low, high = inputs[0], inputs[1], inputs[2]
        constant = all(bound is None or is_constant(bound) for bound in (low, high))
        if not constant or not dtype_of(data).startswith("float"):
            return super()._impl_v13(bb, inputs, attr, params)
        return cls._clip(
            data,
            -np.inf if low is None else to_numpy(low).item(),
            np.inf if high is None else to_numpy(high).item(),
        )

    @staticmethod
    def _clip(data: relax.Expr, low: float, high: float) -> relax.Expr:
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


def explicit_pads(data: relax.Expr, kernel: tuple[int, ...], attr: Attributes) -> list[int]:
    """Return the pads (begin of each spatial axis, then end of each) that ``auto_pad`` asks for.

    ``SAME_*`` keeps ceil(extent / stride) positions: the pads sum to
    ``max((positions - 1) * stride + (kernel - 1) * dilation + 1 - extent, 0)`` and an odd one goes to the
    end for ``SAME_UPPER``, to the begin for ``SAME_LOWER``.
    """
    rank = len(kernel)
    mode = attr.get("auto_pad", b"NOTSET").decode("utf-8")
    if mode == "VALID":
        return [0] * (2 * rank)
    if mode == "NOTSET":
        return list(attr.get("pads", [0] * (2 * rank)))
    begins, ends = [], []
    extents = shape_of(data)[2:]
    strides, dilations = attr.get("strides", [1] * rank), attr.get("dilations", [1] * rank)
    for extent, taps, stride, dilation in zip(extents, kernel, strides, dilations, strict=True):
        positions = -(-extent // stride)
        total = max((positions - 1) * stride + (taps - 1) * dilation + 1 - extent, 0)
        half = total // 2 if mode == "SAME_UPPER" else total - total // 2
        begins.append(half)
        ends.append(total - half)
    return begins + ends


class Conv(stock.Conv):
    """x * w + b with explicit pads; a constant bias becomes one of shape (1, C, 1, ...)."""

    @classmethod
    def _impl_v11(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        data, weight, bias = inputs[0], inputs[1], inputs[2]
        kernel = tuple(attr.get("kernel_shape", shape_of(weight)[2:]))
        attr = {**attr, "kernel_shape": kernel, "pads": explicit_pads(data, kernel, attr)}
        attr.pop("auto_pad", None)
        product = super()._impl_v11(bb, stock.onnx_input([data, weight]), attr, params)
        if bias is None:
            return product
        shape = (1, -1) + (1,) * len(kernel)
        if is_constant(bias):
            return relax.op.add(product, constant(to_numpy(bias).reshape(shape)))
        return relax.op.add(product, bb.normalize(relax.op.reshape(bias, shape)))


# ONNX's mode, and the one of relax.nn.pad.
PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


class Pad(stock.Pad):
    """``relax.nn.pad``, where the pads are constant, none of them crops, and the values are float."""

    @classmethod
    def _impl_v2(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        before, after = np.split(np.array(attr["pads"]), 2)
        return cls._pad(inputs[0], before, after, attr.get("value", 0.0), attr)

    @classmethod
    def _lower_pad(cls, bb, inputs: Inputs, attr: Attributes, params, allowed_modes) -> relax.Expr:
        before, after, value = cls._parse_pads_and_axes(inputs, params)
        crops = min([*before, *after], default=0) < 0
        if crops or not dtype_of(inputs[0]).startswith("float"):
            return super()._lower_pad(bb, inputs, attr, params, allowed_modes)
        return cls._pad(inputs[0], before, after, value, attr)

    @staticmethod
    def _pad(data: relax.Expr, before, after, value: float, attr: Attributes) -> relax.Expr:
        mode = attr.get("mode", b"constant").decode("utf-8")
        if mode not in PAD_MODES:
            raise ValueError(f"mode {mode!r} is unknown; valid: {', '.join(PAD_MODES)}")
        width = [int(count) for pair in zip(before, after, strict=True) for count in pair]
        return relax.op.nn.pad(data, width, PAD_MODES[mode], float(value))


class Dropout(stock.OnnxOpConverter):
    """The input itself, and a mask that keeps everything: ONNX's inference semantics."""

    @classmethod
    def _impl_v1(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        if attr["tvm_custom"]["num_outputs"] == 1:
            return inputs[0]
        return relax.Tuple([inputs[0], relax.const(np.ones(shape_of(inputs[0]), "bool"))])


def _zero_point(given: relax.Expr | None, like: relax.Expr) -> relax.Expr:
    return relax.const(0, dtype_of(like)) if given is None else given


def _dequantize_bias(bias: relax.Expr, data_scale: relax.Expr, weight_scale: relax.Expr) -> relax.Expr:
    """Return the float bias (1, C, 1, ...) of an int32 one whose scale is the product of the two."""
    scale = relax.op.multiply(data_scale, weight_scale)
    if is_constant(data_scale) and is_constant(weight_scale):
        scale = constant(to_numpy(data_scale) * to_numpy(weight_scale))
    return relax.op.dequantize(bias, scale, relax.const(0, "int32"), axis=0)


class QLinearConv(stock.OnnxOpConverter):
    """quantize(conv(dequantize(x), dequantize(w)) + dequantize(b))."""

    @classmethod
    def _impl_v10(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = inputs[:8]
        bias = inputs[8]
        data = bb.emit(relax.op.dequantize(x, x_scale, x_zero, axis=1))
        weight = bb.emit(relax.op.dequantize(w, w_scale, w_zero, axis=0))
        if bias is not None:
            bias = bb.emit(_dequantize_bias(bias, x_scale, w_scale))
        conv = Conv._impl_v11(bb, stock.onnx_input([data, weight, bias]), attr, params)
        return relax.op.quantize(conv, y_scale, y_zero, axis=1, out_dtype=dtype_of(y_zero))


class QLinearMatMul(stock.OnnxOpConverter):
    """quantize(matmul(dequantize(a), dequantize(b))); ``b`` may have a scale per column."""

    @classmethod
    def _impl_v10(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = inputs[:8]
        if int(np.prod(shape_of(a_scale))) != 1:
            raise ValueError("a scale per row of the first operand is not supported")
        data = bb.emit(relax.op.dequantize(a, a_scale, a_zero, axis=-1))
        weight = bb.emit(relax.op.dequantize(b, b_scale, b_zero, axis=len(shape_of(b)) - 1))
        product = bb.emit(relax.op.matmul(data, weight))
        return relax.op.quantize(product, y_scale, y_zero, axis=-1, out_dtype=dtype_of(y_zero))


class ConvInteger(stock.OnnxOpConverter):
    """conv(x - x_zero, w - w_zero) in int32."""

    @classmethod
    def _impl_v10(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        x, w = inputs[0], inputs[1]
        x_zero, w_zero = _zero_point(inputs[2], x), _zero_point(inputs[3], w)
        if shape_of(w_zero) not in ((), (1,)):  # one a filter: (O,) to (O, 1, 1, ...)
            w_zero = bb.emit(relax.op.reshape(w_zero, (-1,) + (1,) * (len(shape_of(w)) - 1)))
        data, weight = (
            bb.emit(relax.op.subtract(relax.op.astype(value, "int32"), relax.op.astype(zero, "int32")))
            for value, zero in ((x, x_zero), (w, w_zero))
        )
        return Conv._impl_v11(bb, stock.onnx_input([data, weight]), attr, params)


CONVERTERS: dict[str, type[stock.OnnxOpConverter]] = {
    **stock._get_convert_map(),
    "BatchNormalization": BatchNormalization,
    "Clip": Clip,
    "Constant": Constant,
    "Conv": Conv,
    "ConvInteger": ConvInteger,
    "Dropout": Dropout,
    "LayerNormalization": LayerNormalization,
    "Pad": Pad,
    "Pow": Pow,
    "QLinearConv": QLinearConv,
    "QLinearMatMul": QLinearMatMul,
    "Resize": Resize,
    "Upsample": Upsample,
}
"""Every operator that can be imported: TVM's own, and ours in their place."""

DOMAINS: dict[str, frozenset[str] | None] = {
    "": None,
    "ai.onnx": None,
    "com.microsoft": frozenset(
        {
            "BiasGelu",
            "DequantizeLinear",
            "EmbedLayerNormalization",
            "FastGelu",
            "Gelu",
            "QuantizeLinear",
            "SkipLayerNormalization",
        }
    ),
}
"""The operators of ``CONVERTERS`` that each domain has; None for all. An operator of the same name in another
domain is another operator."""


def can_convert(domain: str, op_type: str) -> bool:
    """Tell whether an ONNX operator of this domain and type can be imported."""
    if domain not in DOMAINS:
        return False
    names = DOMAINS[domain]
    return op_type in CONVERTERS and (names is None or op_type in names)
