"""Float convolution, matrix multiplication and quantization as the kernels that the schedules know.

    conv2d(x, constant)  -->  conv2d[float32](x, packed constant)
    conv2d(x, w)         -->  conv2d[float32](x, pack(w))

Relax's own legalization is used for every operator that is not in ``FLOAT_KERNELS``, and where a call does not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from tvm import relax, te, topi

from ..passes.hub import packing
from ..passes.hub.arithmetic import Output, bounds_of
from ..passes.hub.graph import dtype_of, is_constant, op_name, shape_of, to_numpy
from ..passes.hub.op_patterns import INJECTIVE, OPAQUE
from ..passes.hub.power import legalize_power
from ..passes.realize.compute import (
    concat,
    elementwise,
    functions,
    product,
)
from ..passes.realize.compute.dots import Dot
from ..passes.realize.compute.epilogue import Conversion
from ..passes.realize.compute.naming import kernel_name
from ..targets.row import TargetRow
from .arg_kernels import arg_reduction
from .norms import legalize_group_norm, legalize_norm
from .reductions import REDUCTIONS, legalize_reduction
from .scan_kernels import cumprod, cumsum, topk
from .softmax import softmax
from .varying_weights import varying_kernel
from .weighted_kernels import kernel_call, weighted_kernel

APPROXIMATIONS: dict[str, Callable[[te.Tensor], te.Tensor]] = {
    "relax.erf": topi.fast_erf,
    "relax.nn.gelu": functions.gelu,
    "relax.nn.gelu_tanh": functions.gelu_tanh,
    "relax.nn.silu": functions.silu,
    "relax.sigmoid": functions.sigmoid,
    "relax.tanh": topi.fast_tanh,
}
"""Float functions that are off by 1e-6 at most, or by so much of the value where that is larger than 1."""

Legalize = Callable[[relax.BlockBuilder, relax.Call], relax.Expr]


def float_lanes(row: TargetRow) -> int:
    """Return how many float32 numbers a vector register of the target holds."""
    return row.vector_bits // 32


def float_dot(row: TargetRow) -> Dot:
    """Return how products of floats are laid out."""
    kind = row.float_dot
    return _dot(row, kind.depth, kind.data_dtype, kind.weight_dtype)


def float32_dot(row: TargetRow) -> Dot:
    """Return how products of float32 are laid out, whatever type floats have."""
    return _dot(row, 1, "float32", "float32")


def _dot(row: TargetRow, depth: int, data_dtype: str, weight_dtype: str) -> Dot:
    dot = Dot(float_lanes(row), depth, data_dtype, "float32", weight_dtype=weight_dtype)
    if row.is_sample:
        return replace(dot, any_extent=True)
    if row.gpu is not None:
        return dot
    # The sums of two blocks, a weight of each, and the activation: one block alone waits for its own sums.
    most = max(rows for rows in packing.TILE_ROWS if 2 * rows + 2 + 1 <= row.vector_registers)
    return replace(dot, tile_rows=most, merges_rows=row.merges_rows)


def legalize_map(row: TargetRow) -> dict[str, Legalize]:
    """Return the legalizations of ``relax.transform.LegalizeOps`` that replace TVM's own."""
    return {
        "relax.nn.conv2d": partial(_weighted, dot=float_dot(row), varying=_varying_dot(row)),
        "relax.matmul": partial(
            _product, dot=float_dot(row), few_rows=float32_dot(row), varying=_varying_dot(row)
        ),
        "relax.quantize": partial(_quantize, conversion=Conversion(row.converts_by)),
        "relax.concat": _concat,
        "relax.cumprod": partial(cumprod, gpu=row.gpu),
        "relax.cumsum": partial(cumsum, gpu=row.gpu),
        "relax.power": legalize_power,
        "relax.take": _take,
        "relax.nn.group_norm": partial(legalize_group_norm, lanes=float_lanes(row)),
        "relax.nn.layer_norm": partial(legalize_norm, lanes=float_lanes(row)),
        "relax.nn.rms_norm": partial(legalize_norm, lanes=float_lanes(row)),
        "relax.nn.softmax": partial(_softmax, lanes=float_lanes(row), any_extent=row.is_sample),
        "relax.topk": partial(topk, gpu=row.gpu),
        **({"relax.argmax": arg_reduction, "relax.argmin": arg_reduction} if row.gpu is not None else {}),
        **{
            name: partial(legalize_reduction, lanes=float_lanes(row), any_extent=row.is_sample)
            for name in REDUCTIONS
        },
        **{name: partial(_approximated, name=name, define=define) for name, define in APPROXIMATIONS.items()},
    }


def _varying_dot(row: TargetRow) -> Dot | None:
    """Return how products with weights that vary are laid out; None where they are left to Relax."""
    return None if row.gpu is not None or row.is_sample else float32_dot(row)


def _stock(name: str) -> Legalize:
    from tvm.ir import Op

    return Op.get(name).get_attr("FLegalize")


def _weighted(
    builder: relax.BlockBuilder, call: relax.Call, *, dot: Dot, varying: Dot | None = None
) -> relax.Expr:
    """Legalize an operator with weights; ``varying`` is the layout of those that are no constants."""
    data, weight = call.args
    if is_constant(weight):
        kernel = weighted_kernel(call, dot)
        if kernel is not None:
            return kernel.call(builder, data, relax.const(kernel.stored(to_numpy(weight))))
    elif varying is not None and not {0} & {*shape_of(data), *shape_of(weight)}:
        kernel = varying_kernel(call, varying)
        if kernel is not None:
            return kernel.call(builder, data, kernel.packed(builder, weight))
    return _stock(op_name(call))(builder, call)


def _product(
    builder: relax.BlockBuilder, call: relax.Call, *, dot: Dot, few_rows: Dot, varying: Dot | None
) -> relax.Expr:
    """Legalize a product; a few rows of one take the other operand as it lies, in float32.

    A matrix for all of a batch is packed by a kernel of its own, with what comes before it: a transpose, for example.
    Then rows of the whole batch share register tiles.

    Constants with leading axes, one matrix for each element of a batch, are an operand like activations.
    """
    data, other = call.args
    shapes = shape_of(data), shape_of(other)
    is_weight = is_constant(other) and len(shapes[1]) == 2
    of_two = not is_weight and all(len(shape) > 1 and 0 not in shape for shape in shapes)
    if not of_two or {dtype_of(data), dtype_of(other)} != {"float32"}:
        return _weighted(builder, call, dot=dot)
    is_packed = len(shapes[1]) == 2 and math.prod(shapes[0][:-1]) >= product.PACKING_ROWS
    if varying is not None and is_packed and dot.data_dtype == "float32":
        return _weighted(builder, call, dot=dot, varying=varying)
    if shapes[0][-2] < product.PACKING_ROWS and not dot.any_extent:
        dot = few_rows
    name = kernel_name("matmul", shapes[0], shapes[1][-1])
    return kernel_call(builder, partial(product.matmul, dot=dot), [data, other], name)


def rounding_of(call: relax.Call) -> tuple[float, Output] | None:
    """Return the scale and the integers of a quantize of a whole float32 tensor to 8 bits; None for any other."""
    data, scale, zero_point = call.args
    dtype = str(call.attrs.out_dtype)
    whole = all(is_constant(value) and to_numpy(value).size == 1 for value in (scale, zero_point))
    if not whole or dtype not in ("uint8", "int8") or dtype_of(data) != "float32":
        return None
    out = Output(dtype, int(to_numpy(zero_point).item()), *bounds_of(dtype))
    return float(np.float32(to_numpy(scale).item())), out


def _quantize(builder: relax.BlockBuilder, call: relax.Call, *, conversion: Conversion) -> relax.Expr:
    """Round half to even and saturate, as ONNX says; Relax's own rounds half away from zero."""
    rounding = rounding_of(call)
    if rounding is None:
        return _stock("relax.quantize")(builder, call)
    scale, out = rounding
    define = partial(elementwise.quantize, scale=scale, out=out, conversion=conversion)
    return builder.call_te(define, call.args[0], primfunc_name_hint="quantize")


def _concat(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Copy each part by a loop of its own. Nothing is fused with it: a value written in parts cannot be inlined."""
    parts = call.args[0]
    fits = isinstance(parts, relax.Tuple) and call.attrs.axis is not None
    if not fits or any(0 in shape_of(part) for part in parts.fields):
        return _stock("relax.concat")(builder, call)
    shape, dtype = shape_of(call), dtype_of(call)
    axis = int(call.attrs.axis) % len(shape)
    rows = shape[:axis] or (1,)
    flat = [_flattened(builder, part, rows) for part in parts.fields]
    widths = [shape_of(part)[-1] for part in flat]
    function = concat.concat(rows, widths, dtype).with_attr("op_pattern", OPAQUE)
    result = relax.call_tir(
        builder.add_func(function, "concat"), flat, relax.TensorType((*rows, sum(widths)), dtype)
    )
    return result if shape == (*rows, sum(widths)) else relax.op.reshape(builder.emit(result), shape)


def _flattened(builder: relax.BlockBuilder, value: relax.Expr, rows: tuple[int, ...]) -> relax.Expr:
    """Return the value with all its axes behind ``rows`` as one."""
    shape = shape_of(value)
    wanted = (*rows, math.prod(shape) // math.prod(rows))
    return value if shape == wanted else builder.emit(relax.op.reshape(value, wanted))


def _take(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Read the nearest element for an index out of range; Relax's own would read whatever memory is there."""
    mode = "clip" if call.attrs.mode == "fast" else str(call.attrs.mode)
    return builder.call_te(
        *(topi.take, *call.args, call.attrs.axis),
        mode=mode,
        primfunc_name_hint="take",
        primfunc_attrs={"op_pattern": INJECTIVE},
    )


def _approximated(
    builder: relax.BlockBuilder, call: relax.Call, *, name: str, define: Callable[[te.Tensor], te.Tensor]
) -> relax.Expr:
    """Use a polynomial or rational approximation: it becomes vectors, which calls of the C library do not."""
    if dtype_of(call.args[0]) != "float32":
        return _stock(name)(builder, call)
    return builder.call_te(define, call.args[0], primfunc_name_hint=name.split(".")[-1])


def _softmax(builder: relax.BlockBuilder, call: relax.Call, *, lanes: int, any_extent: bool) -> relax.Expr:
    """Use a polynomial for the exponential, off by 3e-7 of its value at most, as for ``APPROXIMATIONS``."""
    shape = shape_of(call)
    if dtype_of(call.args[0]) != "float32" or 0 in shape:
        return _stock("relax.nn.softmax")(builder, call)
    axis = int(call.attrs.axis) % len(shape)
    if axis == len(shape) - 1 > 0:
        define = partial(softmax, lanes=lanes, any_extent=any_extent)
        return kernel_call(builder, define, [call.args[0]], "softmax")
    return builder.call_te(topi.nn.fast_softmax, call.args[0], axis, primfunc_name_hint="softmax")
