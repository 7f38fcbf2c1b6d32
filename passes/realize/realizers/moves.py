"""Operators that only move or select values, so they run on the integers as they are.

    max_pool2d(DQ(x))  -->  DQ(max_pool2d(x))

The result has its input's scale and zero point.
"""

from __future__ import annotations

from tvm import relax

from ...hub.graph import op_name
from .quantized import Facts, Parameters

_ALWAYS = frozenset(
    f"relax.{name}"
    for name in (
        *("broadcast_to", "expand_dims", "flatten", "flip", "max", "min", "nn.max_pool2d", "permute_dims"),
        *("repeat", "reshape", "squeeze", "strided_slice", "tile"),
    )
)


def moved_parameters(facts: Facts, call: relax.Expr) -> Parameters | None:
    """Return the parameters of a move's result; None where the operator makes new values, or its input is float."""
    name = op_name(call)
    if name == "relax.concat":
        return _shared(facts, call)
    if name not in _ALWAYS and name not in ("relax.nn.pad", "relax.image.resize2d"):
        return None
    parameters = facts.parameters(call.args[0])
    if parameters is None or name in _ALWAYS:
        return parameters
    if name == "relax.image.resize2d":
        return parameters if call.attrs.method == "nearest_neighbor" else None
    return parameters if call.attrs.pad_mode != "constant" or _pads_exactly(call, parameters) else None


def move(call: relax.Call, integers: list[relax.Expr], parameters: Parameters) -> relax.Call:
    """Return the move applied to its inputs' integers."""
    if op_name(call) == "relax.concat":
        return relax.op.concat(integers, call.attrs.axis)
    if op_name(call) == "relax.nn.pad" and call.attrs.pad_mode == "constant":
        widths = [int(width) for width in call.attrs.pad_width]
        return relax.op.nn.pad(integers[0], widths, "constant", parameters.quantize(call.attrs.pad_value))
    return relax.Call(call.op, [integers[0], *call.args[1:]], call.attrs, call.ty_args)


def move_inputs(call: relax.Call) -> list[relax.Expr]:
    """Return the values that a move moves."""
    return list(call.args[0].fields) if op_name(call) == "relax.concat" else [call.args[0]]


def _shared(facts: Facts, call: relax.Call) -> Parameters | None:
    if not isinstance(call.args[0], relax.Tuple):
        return None
    found = {facts.parameters(field) for field in call.args[0].fields}
    return found.pop() if len(found) == 1 else None


def _pads_exactly(call: relax.Call, parameters: Parameters) -> bool:
    value = float(call.attrs.pad_value)
    return (parameters.quantize(value) - parameters.zero_point) * parameters.scale == value
