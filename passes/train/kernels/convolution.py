"""Gradients of convolutions and matrix products by what they read.

    y = conv2d(x, w)    -->    dx = conv2d(dy, w turned around),    dw = sums of dy times x over all places
    y = x @ w           -->    dx = dy @ w^T,                       dw = x^T @ dy

Everything is float32 of static shape: images NHWC, convolution weights OIHW, weights of products [K, N].
"""

from __future__ import annotations

import math
from functools import partial

from tvm import relax

from ...hub.graph import op_name, shape_of
from ...hub.op_patterns import INJECTIVE, OPAQUE, OUT_ELEMWISE_FUSABLE
from ...hub.packing import ceil_div
from ...realize.compute import packing
from ...realize.compute.contraction import Conv2d
from ...realize.compute.depthwise import FEW_TAPS
from ...realize.compute.naming import kernel_name
from . import phases as phase_kernels
from . import weight_sums
from .phases import Phase, interleave, phases, turned


def data_gradient(
    builder: relax.BlockBuilder,
    call: relax.Call,
    data: relax.Expr,
    weight: relax.Expr,
    gradient: relax.Expr,
) -> relax.Expr:
    """Return the gradient by the data of ``call``, a ``relax.nn.conv2d`` or a ``relax.matmul`` with a matrix.

    What is elementwise behind it becomes a part of its kernel.

    Parameters
    ----------
    data, weight : what the call reads.
    gradient : by the call's result, of its shape.
    """
    if op_name(call) == "relax.matmul":
        return relax.op.matmul(gradient, builder.emit(relax.op.permute_dims(weight, (1, 0))))
    geometry = Conv2d.of(call, shape_of(weight))
    _, height, width, channels = shape_of(data)
    is_depthwise = geometry.groups == channels == geometry.out_channels > 1
    if is_depthwise and _taps_a_phase(geometry) <= FEW_TAPS:
        return _depthwise(builder, weight, gradient, geometry, (height, width))
    (top, left, _, _), (out_h, out_w) = geometry.padding, geometry.out_size(height, width)
    down, across = (
        phases(extent, *sizes)
        for extent, *sizes in zip(
            (height, width),
            *(geometry.kernel, geometry.strides, geometry.dilation, (top, left), (out_h, out_w)),
            strict=True,
        )
    )
    parts: list[relax.Expr | None] = [
        _phase(builder, weight, gradient, row, column, geometry.groups) for row in down for column in across
    ]
    if len(parts) == 1 and parts[0] is not None:
        return parts[0]
    found = [builder.emit(part) for part in parts if part is not None]
    return builder.call_te(
        partial(
            interleave,
            shape=shape_of(data),
            strides=geometry.strides,
            present=tuple(part is not None for part in parts),
        ),
        *found,
        primfunc_name_hint="interleave",
        primfunc_attrs={"op_pattern": INJECTIVE},
    )


def _taps_a_phase(geometry: Conv2d) -> int:
    return math.prod(map(ceil_div, geometry.kernel, geometry.strides))


def _depthwise(
    builder: relax.BlockBuilder,
    weight: relax.Expr,
    gradient: relax.Expr,
    geometry: Conv2d,
    size: tuple[int, int],
) -> relax.Expr:
    """Return the gradient of a depthwise convolution by its data, all phases in one kernel."""
    by_taps = builder.call_te(
        packing.by_taps,
        weight,
        primfunc_name_hint="weights_by_taps",
        primfunc_attrs={"op_pattern": INJECTIVE},
    )
    return builder.call_te(
        partial(phase_kernels.depthwise, geometry=geometry, size=size),
        *(gradient, builder.emit(by_taps)),
        primfunc_name_hint=kernel_name(
            "depthwise_data", (*shape_of(gradient)[:1], *size), geometry.out_channels, geometry.kernel
        ),
        primfunc_attrs={"op_pattern": OUT_ELEMWISE_FUSABLE},
    )


def _phase(
    builder: relax.BlockBuilder,
    weight: relax.Expr,
    gradient: relax.Expr,
    row: Phase,
    column: Phase,
    groups: int,
) -> relax.Expr | None:
    """Return the part of the gradient that lies at these rows and columns; None where it is 0."""
    if not (row.taps and column.taps and row.extent and column.extent):
        return None
    define = partial(turned, rows=row, columns=column, groups=groups)
    attrs = {"op_pattern": INJECTIVE}
    filters = builder.call_te(define, weight, primfunc_name_hint="turned_weights", primfunc_attrs=attrs)
    cuts = {axis: phase.cut for axis, phase in ((1, row), (2, column)) if any(phase.cut)}
    if cuts:
        shape = shape_of(gradient)
        begin = [cuts[axis][0] for axis in cuts]
        end = [shape[axis] - cuts[axis][1] for axis in cuts]
        gradient = builder.emit(relax.op.strided_slice(gradient, list(cuts), begin, end))
    return relax.op.nn.conv2d(
        *(gradient, builder.emit(filters)),
        padding=(row.padding[0], column.padding[0], row.padding[1], column.padding[1]),
        dilation=(row.dilation, column.dilation),
        groups=groups,
        data_layout="NHWC",
        kernel_layout="OIHW",
    )


def weight_gradient(
    builder: relax.BlockBuilder,
    call: relax.Call,
    data: relax.Expr,
    weight: relax.Expr,
    gradient: relax.Expr,
) -> relax.Expr:
    """Return the gradient by the weights of ``call``; parameters as for ``data_gradient``."""
    attrs = {"op_pattern": OPAQUE}
    if op_name(call) == "relax.matmul":
        inner, columns = shape_of(weight)
        rows = math.prod(shape_of(data)[:-1])
        flat = [
            value
            if len(shape_of(value)) == 2
            else builder.emit(relax.op.reshape(value, (rows, shape_of(value)[-1])))
            for value in (data, gradient)
        ]
        name = kernel_name("matmul_weight", (rows, inner), columns)
        return builder.call_te(weight_sums.product, *flat, primfunc_name_hint=name, primfunc_attrs=attrs)
    shape = shape_of(weight)
    geometry = Conv2d.of(call, shape)
    is_depthwise = geometry.groups == shape[0] > 1 and shape[1] == 1
    name = kernel_name(
        "depthwise_weight" if is_depthwise else "conv2d_weight", shape_of(data), shape[0], geometry.kernel
    )
    return builder.call_te(
        partial(weight_sums.depthwise if is_depthwise else weight_sums.conv2d, geometry=geometry),
        *(data, gradient),
        primfunc_name_hint=name,
        primfunc_attrs=attrs,
    )
