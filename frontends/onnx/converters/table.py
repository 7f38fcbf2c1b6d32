"""ONNX operators that TVM's importer lacks, or whose conversion hides what the passes look for.

Each class converts one ONNX operator, here or in a module of its own; the table ``CONVERTERS`` at the end
lists them all. An instance method never runs: TVM picks the ``_impl_vN`` of the largest version N up to the
model's opset.

| operator | here | in TVM's importer |
|---|---|---|
| Clip | ``relax.clip``; any dtype, also behind a quantizer | an opaque TIR function |
| Conv, ConvTranspose, pooling | pads explicit; ``output_shape``, positions of maxima | some of them wrong or missing |
| Pad | ``relax.nn.pad`` | an opaque TIR function |
| Dropout | its input, as in inference | an operator that cannot be lowered |
| BatchNormalization | refused in training mode; five outputs | taken for one in inference |
| Constant | ``value_float``, ``value_ints``, sparse ones, ... too | ``value`` only |
| LayerNormalization | its mean and deviation too | zeros |
| QuantizeLinear, DequantizeLinear | any dtype, 4 and 2 bits, blocks | no blocks, float16 for itself |
| Resize, Upsample | every mode | some modes, some of them wrong |
| DynamicQuantizeLinear | a row pair, up to its integers | a scale of 0 where all are 0 |
| QLinearConv, QLinearMatMul | dequantize, the float operator, quantize | missing |
| ConvInteger | a convolution of int32 | missing |
| Einsum | of two operands: one matrix product | loops |
| LSTM, GRU, RNN | one matrix product, and a kernel for the steps | missing |
| DFT, STFT, Det, DeformConv, Col2Im, ... | products, convolutions, one kernel | missing |
| those of ``onnx_bodies`` | their bodies | missing, or another operator of that name |
| of ``onnx_elementwise``, ``onnx_positions``, ``onnx_reductions`` | every dtype and attribute | some wrong |
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
from ....passes.hub.row_pairs import WHOLE, asymmetric_integers
from ...tflite.own_operators import DOMAIN as OWN
from ...tflite.own_operators import OPERATORS
from ..bodies import has_body
from ..folding import DATA_DEPENDENT
from .basic import LRN, BatchNormalization, Constant, LayerNormalization
from .clip import Clip
from .convolution import Col2Im, Conv, ConvTranspose, DeformConv
from .division import Div, Mod
from .einsum import Einsum
from .elementwise import (
    BitCast,
    BitShift,
    Celu,
    Cosh,
    Elu,
    Equal,
    IsInf,
    Pow,
    Selu,
    Sinh,
    ThresholdedRelu,
    in_float32,
)
from .indexing import GatherElements, GatherND, ScatterElements, ScatterND
from .matrix import DFT, STFT, Det, LpNormalization, MatMul
from .pooling import AveragePool, LpPool, MaxPool, MaxUnpool
from .positions import (
    Compress,
    CumProd,
    CumSum,
    EyeLike,
    OneHot,
    ReverseSequence,
    SpaceToDepth,
    TensorScatter,
    TopK,
)
from .quantization import DequantizeLinear, QuantizeLinear
from .recurrent import GRU, LSTM, RNN
from .reductions import REDUCTIONS
from .resize import Resize, Upsample

Inputs = list[relax.Expr | None]
Attributes = dict[str, Any]


# ONNX's mode, and the one of relax.nn.pad.
PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


class Pad(stock.Pad):
    """``relax.nn.pad``, where the pads are constant, none of them crops, and the values are float.

    Not ``wrap``: the indices ``(i + before) % extent`` of ``relax.nn.pad`` come out wrong where TVM flattens a buffer
    whose loops are fused, since it takes one axis' offset for another's.
    """

    @classmethod
    def _impl_v2(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        before, after = np.split(np.array(attr["pads"]), 2)
        return cls._pad(inputs[0], before, after, attr.get("value", 0.0), attr)

    @classmethod
    def _lower_pad(cls, bb, inputs: Inputs, attr: Attributes, params, allowed_modes) -> relax.Expr:
        before, after, value = cls._parse_pads_and_axes(inputs, params)
        if attr.get("mode") == b"wrap":
            return cls._wrap(bb, inputs[0], before, after)
        crops = min([*before, *after], default=0) < 0
        if crops or not dtype_of(inputs[0]).startswith("float"):
            return super()._lower_pad(bb, inputs, attr, params, allowed_modes)
        return cls._pad(inputs[0], before, after, value, attr)

    @staticmethod
    def _pad(data: relax.Expr, before, after, value: float, attr: Attributes) -> relax.Expr:
        mode = attr.get("mode", b"constant").decode("utf-8")
        if mode not in PAD_MODES:
            raise ValueError(f"mode {mode!r} is unknown; valid: {', '.join([*PAD_MODES, 'wrap'])}")
        width = [int(count) for pair in zip(before, after, strict=True) for count in pair]
        return relax.op.nn.pad(data, width, PAD_MODES[mode], float(value))

    @staticmethod
    def _wrap(bb, data: relax.Expr, before, after) -> relax.Expr:
        """Repeat the data along each axis, or crop them: any number of elements at either end."""
        for axis, extent in enumerate(shape_of(data)):
            places = np.arange(-int(before[axis]), extent + int(after[axis]))
            if len(places) != extent or before[axis]:
                data = bb.emit(relax.op.take(data, constant(places % max(extent, 1)), axis))
        return data


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


class DynamicQuantizeLinear(stock.OnnxOpConverter):
    """The row pair of one row that is the whole tensor, up to its integers (``passes.hub.row_pairs``)."""

    @classmethod
    def _impl_v11(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        integers, scale, zero = asymmetric_integers(inputs[0], WHOLE, bb.emit)
        results = [
            relax.op.astype(integers, "uint8"),
            relax.op.reshape(scale, ()),
            relax.op.reshape(bb.emit(relax.op.astype(zero, "uint8")), ()),
        ]
        return relax.Tuple([bb.emit(result) for result in results])


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
    **{
        name: in_float32(stock._get_convert_map()[name])
        for name in ("Acos", "Acosh", "Asin", "Asinh", "Atan", "Tanh")
    },
    **REDUCTIONS,
    **OPERATORS,
    "AveragePool": AveragePool,
    "BatchNormalization": BatchNormalization,
    "BitCast": BitCast,
    "BitShift": BitShift,
    "Celu": Celu,
    "Clip": Clip,
    "Col2Im": Col2Im,
    "Compress": Compress,
    "Constant": Constant,
    "Conv": Conv,
    "ConvInteger": ConvInteger,
    "ConvTranspose": ConvTranspose,
    "Cosh": Cosh,
    "CumProd": CumProd,
    "CumSum": CumSum,
    "DFT": DFT,
    "DeformConv": DeformConv,
    "DequantizeLinear": DequantizeLinear,
    "Det": Det,
    "Div": Div,
    "Dropout": Dropout,
    "DynamicQuantizeLinear": DynamicQuantizeLinear,
    "Einsum": Einsum,
    "Elu": Elu,
    "Equal": Equal,
    "EyeLike": EyeLike,
    "GRU": GRU,
    "GatherElements": GatherElements,
    "GatherND": GatherND,
    "IsInf": IsInf,
    "LRN": LRN,
    "LSTM": LSTM,
    "LayerNormalization": LayerNormalization,
    "LpNormalization": LpNormalization,
    "LpPool": LpPool,
    "MatMul": MatMul,
    "MaxPool": MaxPool,
    "MaxUnpool": MaxUnpool,
    "Mod": Mod,
    "OneHot": OneHot,
    "Pad": Pad,
    "Pow": Pow,
    "QLinearConv": QLinearConv,
    "QLinearMatMul": QLinearMatMul,
    "QuantizeLinear": QuantizeLinear,
    "RNN": RNN,
    "Resize": Resize,
    "ReverseSequence": ReverseSequence,
    "STFT": STFT,
    "ScatterElements": ScatterElements,
    "ScatterND": ScatterND,
    "Selu": Selu,
    "Sinh": Sinh,
    "SpaceToDepth": SpaceToDepth,
    "TensorScatter": TensorScatter,
    "ThresholdedRelu": ThresholdedRelu,
    "TopK": TopK,
    "Upsample": Upsample,
}
"""Every operator that can be imported: TVM's own, and ours in their place."""

DOMAINS: dict[str, frozenset[str] | None] = {
    "": None,
    "ai.onnx": None,
    "com.microsoft": frozenset({"DequantizeLinear", "Gelu", "QuantizeLinear"}),
    OWN: frozenset(OPERATORS),
}
"""The operators of ``CONVERTERS`` that each domain has; None for all. An operator of the same name in another
domain is another operator."""


def can_convert(domain: str, op_type: str) -> bool:
    """Tell whether an ONNX operator of this domain and type can be imported."""
    if has_body(domain, op_type):
        return True
    if domain not in DOMAINS:
        return False
    names = DOMAINS[domain]
    known = op_type in CONVERTERS or op_type in DATA_DEPENDENT
    return known and (names is None or op_type in names)
