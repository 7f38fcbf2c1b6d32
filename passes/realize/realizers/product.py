"""Matrix products of two quantized activations.

Q(limit(matmul(DQ(a), DQ(b))))   -->  matmul[int8, requantize](a, b)
matmul(DQ(a), DQ(b))             -->  matmul[int8, dequantize](a, b)
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from tvm import relax

from ....targets.row import Extents
from ...hub import arithmetic
from ...hub.graph import layer_name, shape_of
from ...hub.operators import is_product
from ..compute import product
from ..compute.dots import Dot
from ..compute.epilogue import Conversion, Dequantize, Epilogue, Requantize
from ..compute.naming import kernel_name
from .limits import strip_limits
from .quantized import Emitter, Facts, Parameters, Plan

LARGEST_PRODUCT = 255 * 255


def plan_matrix_product(facts: Facts, value: relax.Expr, target: Parameters | None) -> Plan | None:
    """Plan the matrix product of two quantized tensors."""
    limited = strip_limits(facts, value)
    call = facts.definition(limited.value)
    if not is_product(call, of_any_rows=facts.row.extents is not Extents.FIXED):
        return None
    data, other = (facts.parameters(argument) for argument in call.args)
    if data is None or other is None:
        return None
    inner = shape_of(call.args[0])[-1]
    largest = inner * LARGEST_PRODUCT
    if 2 * largest > arithmetic.INT32_MAX:
        facts.refuse(call, f"its sums of {inner} products can leave int32")
        return None
    step = data.scale * other.scale
    epilogue: Epilogue
    if target is None:
        least, most = (None if math.isinf(limit) else limit for limit in (limited.lower, limited.upper))
        epilogue, multiplier = (
            Dequantize(least, most, Conversion(facts.row.converts_by, largest)),
            step,
        )
    else:
        multiplier = step / target.scale
        conversion = Conversion(facts.row.converts_by, largest, largest * multiplier)
        epilogue = Requantize(target.output(limited.lower, limited.upper), conversion)
    layer = layer_name(call)

    def build(emitter: Emitter) -> relax.Var:
        own = emitter.row.any_dot
        operands = [emitter.integers(argument) for argument in call.args]
        # The sums of a column are of the integers as they are stored, so is the zero point in front of them.
        define_columns = partial(
            product.column_offsets, zero_points=(data.zero_point, other.zero_point), inner=inner
        )
        offsets = [emitter.call(define_columns, operands[1], name="offsets", layer=layer)]
        other_zero = other.zero_point - product.centre_of(other.dtype)
        if other_zero:
            define_rows = partial(product.row_offsets, other_zero=other_zero)
            offsets.append(emitter.call(define_rows, operands[0], name="offsets", layer=layer))
        define = partial(
            product.integer_matmul,
            multiplier=float(np.float32(multiplier)),
            dot=Dot(own.lanes, own.depth, own.data_dtype, any_extent=emitter.row.is_sample),
            epilogue=epilogue,
        )
        shapes = [shape_of(argument) for argument in call.args]
        name = kernel_name("qmatmul", shapes[0], shapes[1][-1])
        return emitter.call(define, *operands, *offsets, name=name, layer=layer)

    details = {"data_scale": data.scale, "data_zero_point": data.zero_point}
    return Plan(layer, tuple(call.args), build, limited.names, details)
