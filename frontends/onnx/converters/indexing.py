"""Gathers and scatters whose indices are kept within their data.

    index --> min(max(index, -extent), extent - 1)

The standard leaves an index out of range open; TVM's code then reads, or writes, whatever memory is there. The nearest
element is what ``Gather`` takes too (``schedules.float_kernels``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
from .wrapping import Convert, Inputs, wrapped

Extents = Callable[[Inputs, dict[str, Any]], np.ndarray]
"""``(inputs, attributes) -> extents`` that the indices, the second input, count in; broadcast to them."""


def _of_axis(inputs: Inputs, attr: dict[str, Any]) -> np.ndarray:
    return np.array(shape_of(inputs[0])[attr.get("axis", 0)])


def _of_coordinates(inputs: Inputs, attr: dict[str, Any]) -> np.ndarray:
    first = attr.get("batch_dims", 0)
    return np.array(shape_of(inputs[0])[first : first + shape_of(inputs[1])[-1]])


def _within(bb, indices: relax.Expr, extents: np.ndarray) -> relax.Expr:
    if is_constant(indices):
        values = to_numpy(indices)
        return constant(np.clip(values, -extents, extents - 1).astype(values.dtype))
    low, high = (constant(bound.astype(dtype_of(indices))) for bound in (-extents, extents - 1))
    return bb.emit(relax.op.maximum(bb.emit(relax.op.minimum(indices, high)), low))


def _kept_within(base: type[stock.OnnxOpConverter], extents: Extents) -> type[stock.OnnxOpConverter]:
    def within(convert: Convert, bb, inputs: Inputs, attr: dict[str, Any], params) -> relax.Expr:
        indices = _within(bb, inputs[1], extents(inputs, attr))
        return convert(bb, stock.onnx_input([inputs[0], indices, *inputs[2:]]), attr, params)

    return wrapped(base, within)


GatherElements = _kept_within(stock.GatherElements, _of_axis)
GatherND = _kept_within(stock.GatherND, _of_coordinates)
ScatterElements = _kept_within(stock.ScatterElements, _of_axis)
ScatterND = _kept_within(stock.ScatterND, _of_coordinates)
