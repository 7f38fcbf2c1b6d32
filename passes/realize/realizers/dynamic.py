"""Matrix products with constant weights that quantize their rows while the model runs.

matmul(rows(x), DQ(w)) + bias   -->   matmul[int8, dequantize by rows](q, w, scales, zero points, sums of w, bias)
                                      q, scales, zero points = quantize_rows(x), once for all that read rows(x)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from tvm import relax

from ...hub import arithmetic, packing
from ...hub.graph import layer_name, shape_of
from ...hub.op_patterns import OPAQUE, OUT_ELEMWISE_FUSABLE
from ...hub.row_pairs import RowPair
from ..compute import contraction, dynamic
from ..compute.epilogue import Conversion, DequantizeRows
from ..compute.naming import kernel_name
from .quantized import Emitter, Facts, Parameters, Plan, Rows
from .weighted import lay_out_product, match_weighted, weight_details
from .weights import Weight, largest_accumulators, offset_of, weight_of

_LARGEST_STEPS = 2.0**10
"""No number of a row is so many scales, whatever becomes of a scale that is denormal."""


def quantize_rows(emitter: Emitter, pair: RowPair, data: relax.Expr, layer: str) -> Rows:
    """Emit the kernel that quantizes each row of ``data``, or all of it as one."""
    row, shape = emitter.row, shape_of(data)
    if pair.whole:
        data = emitter.emit(relax.op.reshape(data, (*[1] * (len(shape) - 1), math.prod(shape))), layer)
    define = partial(
        dynamic.symmetric if pair.symmetric else dynamic.asymmetric,
        dtype=row.activation_dtype,
        conversion=Conversion(row.converts_by, largest_rounded=_LARGEST_STEPS),
        lanes=None if row.gpu is not None else row.vector_bits // 32,
    )
    made = emitter.call(define, data, name="quantize_rows", layer=layer, pattern=OPAQUE)
    integers, scales, *zero_points = (emitter.item(made, place) for place in range(len(made.ty.fields)))
    if pair.whole:
        integers = emitter.emit(relax.op.reshape(integers, shape), layer)
    return Rows(integers, scales, *zero_points)


@dataclass(frozen=True)
class _Product:
    """What is known of a product when it is planned; ``bias`` is float32 ``[N]``, ``offset`` int32 ``[N]``."""

    call: relax.Call
    weight: Weight
    offset: np.ndarray
    bias: np.ndarray | None
    is_symmetric: bool

    def build(self, emitter: Emitter) -> relax.Var:
        layer, row, values = layer_name(self.call), emitter.row, self.weight.values
        rows = emitter.rows(self.call.args[0])
        shape = shape_of(rows.integers)
        bounds = arithmetic.bounds_of(row.activation_dtype)
        layout = lay_out_product(row, self.weight, bounds, shape)
        largest = largest_accumulators(self.weight, np.zeros_like(self.offset), (-255, 255)).max(initial=0)
        conversion = Conversion(row.converts_by, float(largest), from_offset=True)
        epilogue = DequantizeRows(not self.is_symmetric, self.bias is not None, conversion)
        per_channel = [conversion.start(self.offset), self.weight.scale.astype(np.float32)]
        packed = [packing.pack_channels(array, 1, layout.dot.lanes) for array in per_channel]
        operands = [rows.scales]
        if rows.zero_points is not None:
            operands += [rows.zero_points, relax.const(values.sum(axis=0, dtype=np.int32))]
        if self.bias is not None:
            operands.append(relax.const(self.bias))
        define = partial(contraction.matmul, out_channels=values.shape[1], dot=layout.dot, epilogue=epilogue)
        constants = [relax.const(array) for array in (layout.weights, *packed)]
        name = kernel_name("qmatmul", shape, values.shape[1])
        given = [rows.integers, *constants, *operands]
        return emitter.call(define, *given, name=name, layer=layer, pattern=OUT_ELEMWISE_FUSABLE)


def plan_dynamic(facts: Facts, value: relax.Expr, target: Parameters | None) -> Plan | None:
    """Plan a product, with its bias, of a row pair with constant quantized weights; its result is float."""
    match = match_weighted(facts, value)
    if match is None or target is not None or match.residual is not None or match.limited.is_limited:
        return None
    call = match.call
    pair = facts.row_pair(call.args[0])
    if pair is None or 0 in shape_of(call):
        return None
    weight = weight_of(facts, call.args[1], 1)
    if not isinstance(weight, str) and weight.values.ndim != 2:
        weight = f"its weight has {weight.values.ndim} dimensions, not 2"
    if isinstance(weight, str):
        facts.refuse(call, weight)
        return None
    low, high = arithmetic.bounds_of(facts.row.activation_dtype)
    zero_point = (low + high + 1) // 2 if pair.symmetric else 0
    channels = weight.values.shape[1]
    offset = offset_of(weight, np.zeros(channels), 1.0, zero_point)
    if isinstance(offset, str):
        facts.refuse(call, offset)
        return None
    bias = None if match.bias is None else np.broadcast_to(match.bias, (channels,)).astype(np.float32)
    product = _Product(call, weight, offset, bias, pair.symmetric)
    details = {
        "data_scale": "of the tensor" if pair.whole else "of each row",
        "data_zero_point": "none" if pair.symmetric else "with each scale",
        **weight_details(call, weight),
    }
    return Plan(layer_name(call), (call.args[0],), product.build, match.names, details, "dynamic")
