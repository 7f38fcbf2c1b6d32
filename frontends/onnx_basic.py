"""Small ONNX operators whose converters in TVM know only part of the specification."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ..passes.graph import constant, dtype_of, shape_of
from .onnx_tensors import array_of


class BatchNormalization(stock.BatchNormalization):
    """For inference; TVM takes one in training mode for one in inference, which gives other numbers."""

    @classmethod
    def _impl_v15(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        if attr.get("training_mode", 0):
            raise ValueError("training_mode is 1; export the model for inference")
        return super()._impl_v15(bb, inputs, attr, params)


class Constant(stock.OnnxOpConverter):
    """A constant in any of its spellings; TVM reads only ``value``."""

    # Attribute -> dtype.
    SCALARS_AND_LISTS = {
        "value_float": "float32",
        "value_floats": "float32",
        "value_int": "int64",
        "value_ints": "int64",
    }

    @classmethod
    def _impl_v1(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        if "value" in attr:
            return constant(array_of(attr["value"]))
        for name, dtype in cls.SCALARS_AND_LISTS.items():
            if name in attr:
                return constant(np.array(attr[name], dtype))
        raise ValueError("a constant of strings or a sparse one is not supported")


class LayerNormalization(stock.LayerNormalization):
    """With its mean and inverse deviation too, where they are asked for; TVM gives a zero in their place."""

    @classmethod
    def _impl_v17(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        normalized = super()._impl_v17(bb, inputs, attr, params)[0]
        if attr["tvm_custom"]["num_outputs"] == 1:
            return normalized
        data = inputs[0]
        rank = len(shape_of(data))
        axes = list(range(attr.get("axis", -1) % rank, rank))
        epsilon = relax.const(attr.get("epsilon", 1e-5), dtype_of(data))
        variance = relax.op.add(relax.op.variance(data, axes, keepdims=True), epsilon)
        mean = relax.op.mean(data, axes, keepdims=True)
        return relax.Tuple([normalized, bb.emit(mean), bb.emit(relax.op.rsqrt(bb.normalize(variance)))])


class Pow(stock.Pow):
    """The power of floats, the exponent cast to the base's dtype, as ONNX allows them to differ."""

    @classmethod
    def _impl_v7(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        base, exponent = inputs[0], inputs[1]
        if dtype_of(base).startswith("float") and dtype_of(exponent) != dtype_of(base):
            exponent = bb.normalize(relax.op.astype(exponent, dtype_of(base)))
        return super()._impl_v7(bb, stock.onnx_input([base, exponent]), attr, params)
