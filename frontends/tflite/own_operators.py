"""Operators that ONNX does not have: on integers, for bodies that compute as TFLite's reference kernels do, and rows
that are quantized while the model runs.

They are of the domain ``tvmq``; ``frontends.onnx.converters.table`` lists them among the importer's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ...passes.hub.arithmetic import Output, bounds_of
from ...passes.hub.graph import constant, dtype_of, shape_of
from ...passes.hub.op_patterns import INJECTIVE, OPAQUE
from ...passes.hub.row_pairs import emit_row_pair
from ...passes.realize.compute import elementwise, fixed_point, pool, wide_sums
from ...passes.realize.compute.contraction import Conv2d
from .detection import Limits, detections

DOMAIN = "tvmq"


class Rescale(stock.OnnxOpConverter):
    """int32 times ``multiplier`` and ``shift``."""

    @classmethod
    def _impl_v1(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        define = partial(fixed_point.rescaled, multiplier=int(attr["multiplier"]), shift=int(attr["shift"]))
        attrs = {"op_pattern": INJECTIVE}
        return bb.call_te(define, inputs[0], primfunc_name_hint="rescale", primfunc_attrs=attrs)


class LookUp(stock.OnnxOpConverter):
    """8-bit integers to those of a table."""

    @classmethod
    def _impl_v1(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        return bb.call_te(elementwise.look_up, inputs[0], inputs[1], primfunc_name_hint="qtable")


class Softmax(stock.OnnxOpConverter):
    """Softmax of rows, by a table of exponentials."""

    @classmethod
    def _impl_v1(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        dtype = dtype_of(inputs[0])
        low, high = bounds_of(dtype)
        define = partial(fixed_point.softmax, out=Output(dtype, low, low, high), bits=8)
        attrs = {"op_pattern": OPAQUE}
        return bb.call_te(define, *inputs, primfunc_name_hint="qsoftmax", primfunc_attrs=attrs)


class AveragePool(stock.OnnxOpConverter):
    """Means of windows of 8-bit images, channels last."""

    @classmethod
    def _impl_v1(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        size, strides, padding = (tuple(attr[name]) for name in ("kernel_shape", "strides", "pads"))
        window = pool.Window(size, strides, padding, (1, 1), False, False)
        dtype = dtype_of(inputs[0])
        out = Output(dtype, 0, int(attr["lower"]), int(attr["upper"]))
        counts = constant(window.counts(*shape_of(inputs[0])[1:3]).astype(np.int32))
        define = partial(
            pool.average_pool2d, window=window, zero_point=0, epilogue=fixed_point.RoundedQuotient(out)
        )
        return bb.call_te(define, inputs[0], counts, primfunc_name_hint="qaverage_pool2d")


class DynamicRows(stock.OnnxOpConverter):
    """Rows of floats rounded to the integers of their own scales (``passes.hub.row_pairs``)."""

    @classmethod
    def _impl_v1(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        return emit_row_pair(bb, inputs[0], symmetric=bool(attr["symmetric"]))


class Detections(stock.OnnxOpConverter):
    """Boxes ``[N, 4]``, scores and labels ``[C, N]`` to those that remain (``detection.py``)."""

    @classmethod
    def _impl_v1(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        limits = Limits(int(attr["of_class"]), int(attr["of_all"]), attr["score"], attr["overlap"])
        classes, count = shape_of(inputs[1])
        function = bb.add_func(detections(classes, count, limits), "detections")
        shapes = ((1, limits.of_all, 4), (1, limits.of_all), (1, limits.of_all), (1,))
        results = [relax.TensorType(shape, "float32") for shape in shapes]
        return bb.emit(relax.call_tir(function, list(inputs), results))


class WideConv(stock.OnnxOpConverter):
    """Convolution of 16-bit images, channels last, with sums of int64 (``wide_sums.py``)."""

    @classmethod
    def _impl_v1(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        filters, _, height, width = shape_of(inputs[1])
        strides, padding, dilation = (tuple(attr[name]) for name in ("strides", "pads", "dilations"))
        geometry = Conv2d(strides, padding, dilation, int(attr["group"]), (height, width), filters)
        out = Output("int16", 0, int(attr["lower"]), int(attr["upper"]))
        define = partial(wide_sums.conv2d, geometry=geometry, bits=int(attr["bits"]), out=out)
        return bb.call_te(define, *inputs, primfunc_name_hint="qconv2d_16")


OPERATORS: dict[str, type[stock.OnnxOpConverter]] = {
    f"{DOMAIN}.{kind.__name__}": kind
    for kind in (AveragePool, Detections, DynamicRows, LookUp, Rescale, Softmax, WideConv)
}
