"""Convolution and matrix multiplication with constant weights.

Q(limit(conv2d(DQ(x), DQ(w)) + bias))                 -->  conv2d[int8, requantize](x, w)
Q(limit(conv2d(DQ(x), DQ(w)) + bias + DQ(residual)))  -->  conv2d[int8, requantize and add](x, w, residual)
conv2d(DQ(x), DQ(w)) + bias                           -->  conv2d[int8, dequantize](x, w)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from tvm import relax, te

from ....targets.row import Extents, TargetRow
from ...hub import arithmetic, packing
from ...hub.fixed_point import FixedPoint
from ...hub.graph import layer_name, op_name, shape_of
from ...hub.lane_sums import is_merged
from ...hub.op_patterns import OPAQUE, OUT_ELEMWISE_FUSABLE
from ...hub.parameters import bits_of
from ..compute import contraction, depthwise
from ..compute.contraction import Conv2d
from ..compute.epilogue import (
    Conversion,
    Converted,
    Dequantize,
    Epilogue,
    Requantize,
    RequantizeAdd,
    WithRowSums,
)
from ..compute.fixed_point import RequantizeFixed
from ..compute.naming import kernel_name
from ..compute.row_sums import row_sums, window_sums
from .dots import Layout, choose_dot, lay_out
from .limits import Limited, integer_bounds, strip_limits
from .quantized import Emitter, Facts, Parameters, Plan
from .weights import Weight, constant_value, fit_bias, largest_accumulators, offset_of, weight_of

FIXED = "fixed_point"
"""The detail of a layer whose requantization its file fixes."""

OPERATORS = ("relax.nn.conv2d", "relax.matmul")


@dataclass(frozen=True)
class Match:
    """``limit(operator(data, weight) + bias + residual)``."""

    call: relax.Call
    limited: Limited
    bias: np.ndarray | None
    residual: relax.Expr | None
    names: tuple[str, ...]


def plan_weighted(facts: Facts, value: relax.Expr, target: Parameters | None) -> Plan | None:
    """Plan a convolution or matmul of quantized data with constant quantized weights."""
    match = match_weighted(facts, value)
    if match is None:
        return None
    call = match.call
    data = facts.parameters(call.args[0])
    if data is None:
        return None
    if match.residual is not None and target is None:
        return None
    is_conv = op_name(call) == "relax.nn.conv2d"
    weight = weight_of(facts, call.args[1], 0 if is_conv else 1, takes_wide=_takes_wide(facts.row, call))
    if isinstance(weight, str):
        facts.refuse(call, weight)
        return None
    if is_conv and (call.attrs.data_layout, call.attrs.kernel_layout) != ("NHWC", "OIHW"):
        facts.refuse(
            call,
            f"its layout is {call.attrs.data_layout}, {call.attrs.kernel_layout}; NHWC, OIHW has a kernel",
        )
        return None
    if not is_conv and weight.values.ndim != 2:
        facts.refuse(call, f"its weight has {weight.values.ndim} dimensions, not 2")
        return None
    channels = weight.values.shape[weight.axis]
    bias = np.zeros(channels) if match.bias is None else np.broadcast_to(match.bias.reshape(-1), (channels,))
    weight = fit_bias(weight, bias.astype(np.float64), data.scale)
    offset = offset_of(weight, bias.astype(np.float64), data.scale, data.zero_point)
    if isinstance(offset, str):
        facts.refuse(call, offset)
        return None
    steps = data.scale * weight.scale
    bounds = integer_bounds(facts, call.args[0])
    largest = largest_accumulators(weight, offset, bounds)
    fixed = facts.fixed_point(call)
    is_fixed = fixed is not None and target is not None and match.residual is None
    chosen = (
        _fixed_form(data, weight, fixed, target.output(match.limited.lower, match.limited.upper))
        if is_fixed
        else _float_form(facts, match, steps, target, offset, largest)
    )
    if isinstance(chosen, str):
        facts.refuse(call, chosen)
        return None
    operands = () if match.residual is None else (match.residual,)
    build = partial(
        _build, call=call, data=data, weight=weight, form=chosen, operands=operands, bounds=bounds
    )
    details = {
        "data_scale": data.scale,
        "data_zero_point": data.zero_point,
        **({FIXED: True} if is_fixed else {}),
        **weight_details(call, weight),
    }
    return Plan(layer_name(call), (call.args[0], *operands), build, match.names, details)


@dataclass(frozen=True)
class _Form:
    """How accumulators become the result.

    Attributes
    ----------
    arrays : of each output channel: where its sums start, and what its accumulator is multiplied by.
    constants : operands of the epilogue that are known, in front of those that the model computes.
    """

    epilogue: Epilogue
    arrays: tuple[np.ndarray, np.ndarray]
    constants: tuple[np.ndarray, ...] = ()


def _float_form(
    facts: Facts, match: Match, steps: np.ndarray, target: Parameters | None, offset: np.ndarray,
    largest: np.ndarray,
) -> _Form | str:  # fmt: skip
    """Return the requantization in float32, or why there is none."""
    chosen = choose_epilogue(facts, match, steps, target, largest)
    if isinstance(chosen, str):
        return chosen
    epilogue, multiplier = chosen
    return _Form(epilogue, (epilogue.conversion.start(offset), multiplier.astype(np.float32)))


def _fixed_form(data: Parameters, weight: Weight, fixed: FixedPoint, out: arithmetic.Output) -> _Form:
    """Return the requantization by integers that the model's file fixes."""
    # A transposed convolution has the channels of its result once for each phase.
    phases = weight.values.shape[weight.axis] // len(fixed.shift)
    bias, multiplier, shift = (np.tile(each, phases) for each in (fixed.bias, fixed.multiplier, fixed.shift))
    others = tuple(axis for axis in range(weight.values.ndim) if axis != weight.axis)
    offset = bias - data.zero_point * weight.values.astype(np.int64).sum(axis=others)
    epilogue = RequantizeFixed(out, (int(shift.min()), int(shift.max())), fixed.once)
    arrays = offset.astype(np.int32), multiplier.astype(np.int32)
    return _Form(epilogue, arrays, (shift.astype(np.int32),))


def _takes_wide(row: TargetRow, call: relax.Call) -> bool:
    """Tell whether the operator's kernel may have weights of 9 bits."""
    if row.gpu is not None:
        return False
    return op_name(call) == "relax.matmul" or int(call.attrs.groups) in (1, shape_of(call)[-1])


def weight_details(call: relax.Call, weight: Weight) -> dict[str, Any]:
    """Return what reports show of an operator's weights."""
    return {
        "weight_bits": bits_of(weight.values),
        "weight_bytes": _stored_bytes(call, weight.values),
        "weight_scale_min": float(weight.scale.min()),
        "weight_scale_max": float(weight.scale.max()),
    }


def _stored_bytes(call: relax.Call, values: np.ndarray) -> int:
    """Return the size of weights as they are stored, without the padding to whole registers."""
    if values.dtype != np.int8:
        return values.size * (values.itemsize if _is_depthwise(call, values) else 1)
    width = packing.STORED_BITS[-1] if _is_depthwise(call, values) else packing.stored_bits(bits_of(values))
    return packing.ceil_div(values.size * width, 8)


def _is_depthwise(call: relax.Call, values: np.ndarray) -> bool:
    return op_name(call) == "relax.nn.conv2d" and call.attrs.groups == values.shape[0] > 1 == values.shape[1]


def match_weighted(facts: Facts, value: relax.Expr) -> Match | None:
    """Return the operator under limits, one residual and biases; limits must be outermost."""
    limited = strip_limits(facts, value)
    bias, residual, names = None, None, list(limited.names)
    current = facts.definition(limited.value)
    while op_name(current) == "relax.add":
        added = _addend(facts, current)
        if added is None:
            return None
        inner, constant, other = added
        if constant is not None:
            bias = constant if bias is None else bias + constant
        elif residual is None:
            residual = other
        else:
            return None
        names.append(layer_name(current))
        current = facts.definition(inner)
    if op_name(current) not in OPERATORS:
        return None
    if residual is not None and shape_of(residual) != shape_of(current):
        return None
    return Match(current, limited, bias, residual, tuple(names))


def _addend(facts: Facts, call: relax.Call):
    """Return (the side with the operator, constant per-channel bias or None, quantized residual or None)."""
    for inner, other in (call.args, reversed(call.args)):
        constant = constant_value(facts, other)
        if constant is not None:
            if _is_per_channel(constant, shape_of(inner)):
                return inner, constant.astype(np.float64).reshape(-1), None
            return None
    for inner, other in (call.args, reversed(call.args)):
        if facts.parameters(other) is not None and _leads_to_operator(facts, inner):
            return inner, None, other
    return None


def _leads_to_operator(facts: Facts, expr: relax.Expr) -> bool:
    call = facts.definition(expr)
    while op_name(call) == "relax.add":
        sides = [side for side in call.args if constant_value(facts, side) is None]
        if len(sides) != 1:
            return False
        call = facts.definition(sides[0])
    return op_name(call) in OPERATORS


def _is_per_channel(constant: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Tell whether a constant broadcasts along the last axis alone, where the channels are."""
    if constant.ndim > len(shape):
        return False
    return constant.size == 1 or constant.shape[-1] == constant.size == shape[-1]


def choose_epilogue(
    facts: Facts, match: Match, steps: np.ndarray, target: Parameters | None, largest: np.ndarray
) -> tuple[Converted, np.ndarray] | str:
    """Return the epilogue and its multipliers (float64), or why there is none; ``largest`` accumulators are ``[O]``."""
    lower, upper = match.limited.lower, match.limited.upper
    if target is None:
        least, most = (None if math.isinf(limit) else limit for limit in (lower, upper))
        return Dequantize(least, most, _conversion(facts, largest, steps)), steps
    out = target.output(lower, upper)
    multiplier = steps / target.scale
    if match.residual is None:
        return Requantize(out, _conversion(facts, largest, multiplier)), multiplier
    residual = facts.parameters(match.residual)
    try:
        (ratio,), shift = arithmetic.fixed_point([residual.scale / target.scale])
    except ValueError as error:
        return str(error)
    multiplier = multiplier * 2.0**shift
    addend = arithmetic.Addend(residual.zero_point, ratio)
    return RequantizeAdd(out, addend, shift, _conversion(facts, largest, multiplier)), multiplier


def _conversion(facts: Facts, largest: np.ndarray, multiplier: np.ndarray) -> Conversion:
    """Return how accumulators up to the largest of each channel become floats and integers."""
    scaled = largest * np.abs(multiplier)
    return Conversion(
        facts.row.converts_by, float(largest.max(initial=0)), float(scaled.max(initial=0.0)), True
    )


def _build(
    emitter: Emitter,
    *,
    call: relax.Call,
    data: Parameters,
    weight: Weight,
    form: _Form,
    operands: tuple[relax.Expr, ...],
    bounds: tuple[int, int],
) -> relax.Var:
    layer, epilogue = layer_name(call), form.epilogue
    integers = [emitter.integers(value) for value in (call.args[0], *operands)]
    if weight.is_wide and not _is_depthwise(call, weight.values):
        weight, shift = weight.split()
        integers.append(_row_sums(emitter, integers[0], call, weight, data.zero_point, shift))
        epilogue = WithRowSums(epilogue)
    if _is_product_of_few(call, weight, emitter.row):
        integers = [
            emitter.emit(relax.op.reshape(value, (-1, shape_of(value)[-1])), layer) for value in integers
        ]
        weight = Weight(weight.values[:, :, 0, 0].T, weight.scale, 1)
    values, groups = weight.values, 1
    data_shape = shape_of(integers[0])
    define: Callable[..., te.Tensor]
    if values.ndim == 2:
        layout = lay_out_product(emitter.row, weight, bounds, data_shape)
        lanes, packed = layout.dot.lanes, layout.weights
        define = partial(contraction.matmul, out_channels=values.shape[1], dot=layout.dot, epilogue=epilogue)
        name = kernel_name("qmatmul", data_shape, values.shape[1])
    else:
        geometry = Conv2d.of(call, values.shape, data.zero_point)
        if _is_depthwise(call, values):
            lanes, packed, define = _depthwise(emitter.row, weight, geometry, epilogue, bounds)
            operation = "qdepthwise_conv2d"
        else:
            groups, merged = geometry.groups, is_merged(call, values)
            ordered = packing.merge_columns(values) if merged else values
            layout = lay_out(
                *(emitter.row, weight, partial(packing.pack_conv2d, ordered, groups)),
                *(lambda depth: geometry.taps(data_shape[-1], depth, merged), merged, bounds),
                has_neighbours=not merged and groups == 1 and _is_wide(call),
            )
            lanes, packed = layout.dot.lanes, layout.weights
            define = partial(
                contraction.conv2d, geometry=geometry, dot=layout.dot, merged=merged, epilogue=epilogue
            )
            operation = "qconv2d"
        name = kernel_name(operation, data_shape, values.shape[0], geometry.kernel)
    packed_arrays = [packing.pack_channels(array, groups, lanes) for array in form.arrays]
    first = (relax.const(array) for array in (packed, *packed_arrays))
    given = [integers[0], *first, *map(relax.const, form.constants), *integers[1:]]
    result = emitter.call(define, *given, name=name, layer=layer, pattern=OUT_ELEMWISE_FUSABLE)
    if shape_of(result) == shape_of(call):
        return result
    return emitter.emit(relax.op.reshape(result, shape_of(call)), layer)


def _row_sums(
    emitter: Emitter, data: relax.Expr, call: relax.Call, weight: Weight, zero_point: int, factor: int
) -> relax.Var:
    """Emit ``factor`` times the sums of what each row, or pixel, of the result reads."""
    layer = layer_name(call)
    sums = emitter.call(partial(row_sums, factor=factor), data, name="qrow_sums", layer=layer, pattern=OPAQUE)
    if op_name(call) == "relax.matmul":
        return sums
    geometry = Conv2d.of(call, weight.values.shape)
    if geometry.kernel == geometry.strides == (1, 1) and not any(geometry.padding):
        return sums
    outside = factor * zero_point * shape_of(data)[-1]
    define = partial(window_sums, geometry=geometry, outside=outside)
    return emitter.call(define, sums, name="qwindow_sums", layer=layer, pattern=OPAQUE)


def lay_out_product(
    row: TargetRow, weight: Weight, bounds: tuple[int, int], data_shape: tuple[int, ...]
) -> Layout:
    """Return the dot product for a matrix product of integers within bounds, with its weights packed."""
    return lay_out(
        *(row, weight, partial(packing.pack_matmul, weight.values)),
        *(lambda depth: (packing.ceil_div(weight.values.shape[0], depth),), False, bounds),
        rows=contraction.rows_of(data_shape, row.merges_rows),
    )


def _is_wide(call: relax.Call) -> bool:
    return shape_of(call)[2] > 1


def _is_product_of_few(call: relax.Call, weight: Weight, row: TargetRow) -> bool:
    """Tell whether a convolution is the product of so few pixels that their kernel takes packed weights as they lie."""
    if op_name(call) != "relax.nn.conv2d" or bits_of(weight.values) > packing.STORED_BITS[-2]:
        return False
    if row.extents is not Extents.FIXED:
        return False  # all numbers of pixels share one layout
    attrs = call.attrs
    is_pointwise = weight.values.shape[2:] == (1, 1) and int(attrs.groups) == 1
    is_dense = not any(map(int, attrs.padding)) and all(int(stride) == 1 for stride in attrs.strides)
    return is_pointwise and is_dense and math.prod(shape_of(call)[:-1]) <= row.few_rows


def _depthwise(
    row: TargetRow, weight: Weight, geometry: Conv2d, epilogue: Epilogue, bounds: tuple[int, int]
) -> tuple[int, np.ndarray, Callable[..., te.Tensor]]:
    """Return the lanes, the packed weights and the definition of a depthwise convolution.

    Rows lie side by side where that serves several output columns; with a stride each is read for one or two alone.
    """
    values = weight.values
    lanes, narrow = choose_dot(row, weight, merged=False).lanes, None
    if row.narrow_taps is not None and not weight.is_wide:
        lanes = row.narrow_taps.lanes
        narrow = depthwise.NarrowSums.of(values, bounds, row.narrow_taps.dtype)
    if (
        row.lane_dot is None
        or weight.is_wide
        or not depthwise.has_row_groups(geometry, row.lane_dot.most_stride)
    ):
        packed = depthwise.pack_depthwise(values, lanes)
        define = partial(depthwise.depthwise_conv2d, geometry=geometry, narrow=narrow, epilogue=epilogue)
        return lanes, packed, define
    own = row.lane_dot
    groups = depthwise.RowGroups.of(geometry.kernel[0], geometry.strides[0], own.depth)
    packed = depthwise.pack_row_groups(values, geometry.strides[0], groups, own.lanes)
    define = partial(
        depthwise.depthwise_by_row_groups, geometry=geometry, data_dtype=own.data_dtype, epilogue=epilogue
    )
    return lanes, packed, define
