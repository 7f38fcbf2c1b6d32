"""Small ONNX operators whose converters in TVM know only part of the specification."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import constant, dtype_of, shape_of
from ..sparse import dense_array
from ..tensors import array_of


class BatchNormalization(stock.BatchNormalization):
    """For inference; TVM takes one in training mode for one in inference, which gives other numbers."""

    @classmethod
    def _impl_v15(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        if attr.get("training_mode", 0):
            raise ValueError("training_mode is 1; export the model for inference")
        normalized = super()._impl_v15(bb, inputs, attr, params)[0]
        if attr["tvm_custom"]["num_outputs"] == 1:
            return normalized
        # Files of old exporters name all outputs of training: the running statistics, and those of the batch.
        return relax.Tuple([bb.emit(normalized), *inputs[3:5], *inputs[3:5]])


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
        if "sparse_value" in attr:
            return constant(dense_array(attr["sparse_value"]))
        for name, dtype in cls.SCALARS_AND_LISTS.items():
            if name in attr:
                return constant(np.array(attr[name], dtype))
        raise ValueError("a constant of strings is not supported")


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


class LRN(stock.OnnxOpConverter):
    """x / (bias + alpha / size * (sum of squares of neighbouring channels))^beta, for any rank and size."""

    @classmethod
    def _impl_v1(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        data, size = inputs[0], attr["size"]
        shape, dtype = shape_of(data), dtype_of(data)
        # From floor((size - 1) / 2) channels before to ceil((size - 1) / 2) behind.
        before, behind = (min(reach, shape[1] - 1) for reach in ((size - 1) // 2, size // 2))
        width = [0, 0, before, behind] + [0, 0] * (len(shape) - 2)
        squares = bb.emit(relax.op.nn.pad(bb.emit(relax.op.multiply(data, data)), width))
        total = bb.emit(relax.op.strided_slice(squares, [1], [0], [shape[1]]))
        for at in range(1, before + 1 + behind):
            part = bb.emit(relax.op.strided_slice(squares, [1], [at], [at + shape[1]]))
            total = bb.emit(relax.op.add(total, part))
        share = relax.const(attr.get("alpha", 1e-4) / size, dtype)
        base = bb.emit(relax.op.multiply(total, share))
        base = bb.emit(relax.op.add(base, relax.const(attr.get("bias", 1.0), dtype)))
        return relax.op.divide(
            data, bb.emit(relax.op.power(base, relax.const(attr.get("beta", 0.75), dtype)))
        )
