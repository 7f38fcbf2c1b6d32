"""What quantization knows of each Relax operator: one row each.

| kind | on integers it is | its result |
|---|---|---|
| weighted | a sum of products with constant weights | quantized anew, or float from the accumulator |
| product | a matrix product of two quantized tensors | quantized anew, or float from the accumulator |
| binary | a sum or product of two quantized tensors | quantized anew |
| concat | its inputs, at the result's scale | quantized anew, or as its inputs where they share a scale |
| average | a sum of quantized values | quantized anew |
| range | a clamp behind a weighted or binary operator, else a table | as the operator's that absorbs it |
| table | a function of single values: 256 of them are looked up | quantized anew |
| move | the same operator on the integers | as its input: it only moves or selects values |

Whatever has no row stays in float.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import relax

from .graph import dtype_of, extents_of, is_constant, op_name, to_numpy

WEIGHTED, PRODUCT, BINARY, CONCAT, AVERAGE = "weighted", "product", "binary", "concat", "average"
RANGE, TABLE, MOVE = "range", "table", "move"

PRODUCT_ROWS = 4
"""Rows of the first operand from which on a product of two activations is one on integers."""

WEIGHT_AXIS = {"relax.nn.conv2d": 0, "relax.matmul": 1}
"""The axis of a weighted operator's second operand with one filter each: OIHW, and ``[K, N]``."""


def _anything(call: relax.Call) -> str:
    return ""


def _conv(call: relax.Call) -> str:
    if (call.attrs.data_layout, call.attrs.kernel_layout) != ("NCHW", "OIHW"):
        return f"its layout is {call.attrs.data_layout}, {call.attrs.kernel_layout}; NCHW, OIHW is quantized"
    return _weights(call)


def _matmul(call: relax.Call) -> str:
    if len(extents_of(call.args[1])) != 2 or len(extents_of(call.args[0])) < 2:
        return "its second operand is not one matrix of weights"
    return _weights(call)


def _weights(call: relax.Call) -> str:
    data, weight = call.args
    if not is_constant(weight):
        return "its weights are computed, not constant"
    if is_constant(data):
        return "its data are constant"
    return "" if dtype_of(weight) == "float32" else f"its weights are {dtype_of(weight)}, not float32"


def _two_activations(call: relax.Call) -> str:
    return "one operand is a constant that is no single number" if _constants(call) else ""


def _constants(call: relax.Call) -> list[relax.Expr]:
    return [argument for argument in call.args if is_constant(argument)]


def _spatial_mean(call: relax.Call) -> str:
    rank = len(extents_of(call.args[0]))
    axes = call.attrs.axis
    reduced = set(range(rank)) if axes is None else {int(axis) % rank for axis in axes}
    if rank < 3 or reduced != set(range(2, rank)):
        return "it averages other axes than height and width"
    return ""


def _nchw(call: relax.Call) -> str:
    return "" if call.attrs.layout == "NCHW" else f"its layout is {call.attrs.layout}; NCHW is quantized"


def _nearest(call: relax.Call) -> str:
    if call.attrs.method != "nearest_neighbor":
        return f"its {call.attrs.method} interpolation makes new values"
    return "" if call.attrs.coordinate_transformation_mode != "tf_crop_and_resize" else "it may extrapolate"


def _pad(call: relax.Call) -> str:
    if call.attrs.pad_mode == "constant" and float(call.attrs.pad_value) != 0.0:
        return f"it pads with {float(call.attrs.pad_value):g}, which its input's scale may not have"
    return ""


@dataclass(frozen=True)
class Operator:
    """One row.

    Attributes
    ----------
    name : the Relax operator.
    kind : see the table above.
    refuse : gives the reason why this call of it stays in float; empty where it need not.
    """

    name: str
    kind: str
    refuse: Callable[[relax.Call], str] = _anything


OPERATORS: dict[str, Operator] = {
    row.name: row
    for row in (
        Operator("relax.nn.conv2d", WEIGHTED, _conv),
        Operator("relax.matmul", WEIGHTED, _matmul),
        Operator("relax.add", BINARY, _two_activations),
        Operator("relax.multiply", BINARY, _two_activations),
        Operator("relax.concat", CONCAT),
        Operator("relax.nn.avg_pool2d", AVERAGE, _nchw),
        Operator("relax.nn.adaptive_avg_pool2d", AVERAGE, _nchw),
        Operator("relax.mean", AVERAGE, _spatial_mean),
        Operator("relax.nn.relu", RANGE),
        Operator("relax.clip", RANGE),
        Operator("relax.abs", TABLE),
        Operator("relax.ceil", TABLE),
        Operator("relax.divide", TABLE),
        Operator("relax.erf", TABLE),
        Operator("relax.exp", TABLE),
        Operator("relax.floor", TABLE),
        Operator("relax.log", TABLE),
        Operator("relax.maximum", TABLE),
        Operator("relax.minimum", TABLE),
        Operator("relax.negative", TABLE),
        Operator("relax.nn.gelu", TABLE),
        Operator("relax.nn.gelu_tanh", TABLE),
        Operator("relax.nn.leakyrelu", TABLE),
        Operator("relax.nn.selu", TABLE),
        Operator("relax.nn.silu", TABLE),
        Operator("relax.nn.softplus", TABLE),
        Operator("relax.power", TABLE),
        Operator("relax.round", TABLE),
        Operator("relax.rsqrt", TABLE),
        Operator("relax.sigmoid", TABLE),
        Operator("relax.sqrt", TABLE),
        Operator("relax.square", TABLE),
        Operator("relax.subtract", TABLE),
        Operator("relax.tanh", TABLE),
        Operator("relax.broadcast_to", MOVE),
        Operator("relax.expand_dims", MOVE),
        Operator("relax.flatten", MOVE),
        Operator("relax.flip", MOVE),
        Operator("relax.image.resize2d", MOVE, _nearest),
        Operator("relax.max", MOVE),
        Operator("relax.nn.max_pool2d", MOVE, _nchw),
        Operator("relax.nn.pad", MOVE, _pad),
        Operator("relax.permute_dims", MOVE),
        Operator("relax.repeat", MOVE),
        Operator("relax.reshape", MOVE),
        Operator("relax.split", MOVE),
        Operator("relax.squeeze", MOVE),
        Operator("relax.strided_slice", MOVE),
        Operator("relax.tile", MOVE),
    )
}


def kind_of(call: relax.Call) -> str:
    """Return the kind of a call of an operator in the table; a matrix product with weights that vary is a product."""
    return PRODUCT if is_product(call) else OPERATORS[op_name(call)].kind


def is_product(expr: relax.Expr, of_any_rows: bool = False) -> bool:
    """Tell whether the expression is the matrix product of two activations, of enough rows for integers to pay.

    The second operand is packed for integers, which takes as long as some rows of products in float. An open number of
    rows is enough, and where it is open elsewhere ``of_any_rows``.
    """
    if op_name(expr) != "relax.matmul" or _constants(expr):
        return False
    shapes = [extents_of(argument) for argument in expr.args]
    if not all(len(shape) > 1 and 0 not in shape for shape in shapes):
        return False
    rows = shapes[0][-2]
    return of_any_rows or isinstance(rows, str) or rows >= PRODUCT_ROWS


def is_scalar(expr: relax.Expr) -> bool:
    """Tell whether the expression is a number: a constant of one element, or a bound of ``clip``."""
    if is_constant(expr):
        return to_numpy(expr).size == 1
    return not isinstance(expr, relax.Var)


def pointwise(call: relax.Call) -> bool:
    """Tell whether each element of the result depends on one element of each operand, and on numbers.

    The operands that are tensors then have the result's shape.
    """
    row = OPERATORS.get(op_name(call))
    if row is None or row.kind not in (BINARY, RANGE, TABLE):
        return False
    tensors = [argument for argument in call.args if not is_scalar(argument)]
    return bool(tensors) and all(
        isinstance(argument, relax.Var) and extents_of(argument) == extents_of(call) for argument in tensors
    )
