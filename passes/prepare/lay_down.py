"""Convolution of images that are one pixel wide --> of images that are one pixel high.

    conv2d(x [N, C, H, 1])  -->  turn(conv2d(turn(x)))          turn swaps height and width, which moves nothing
    f(turn(y))              -->  turn(f(y))                      f pointwise, its constants one a channel
    conv2d(turn(y))         -->  turn(conv2d(y))

A kernel keeps several pixels of a row in registers. Signals come upright from frameworks that have no signals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import constant, is_constant, layer_name, op_name, shape_of, to_numpy
from .pointwise import POINTWISE, before_move
from .rewriting import Scope, apply_rule

TURN = (0, 1, 3, 2)


@tvm.transform.module_pass(opt_level=0, name="tvmq.LayDown")
@dataclass(frozen=True)
class LayDown:
    """Turn convolutions with constant weights on ``[N, C, H, 1]``."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with signals as rows."""
        return apply_rule(mod, _laid_down)


def _laid_down(scope: Scope, value: relax.Expr) -> relax.Expr | None:
    if op_name(value) == "relax.nn.conv2d":
        made = _conv(scope, value)
    elif op_name(value) in POINTWISE and len(shape_of(value)) == len(TURN):
        made = _pointwise(scope, value)
    else:
        return None
    if made is None:
        return None
    return relax.op.permute_dims(scope.emit(made, layer_name(value)), list(TURN))


def _row(scope: Scope, expr: relax.Expr) -> relax.Expr | None:
    """Return the image of which ``expr`` is the turned one; None where it is none."""
    turned = scope.defined_by(expr, "relax.permute_dims")
    if turned is None or turned.attrs.axes is None:
        return None
    axes = tuple(int(axis) for axis in turned.attrs.axes)
    return turned.args[0] if axes == TURN and shape_of(expr)[3] == 1 else None


def _conv(scope: Scope, call: relax.Call) -> relax.Call | None:
    attrs, (data, weight) = call.attrs, call.args
    if not is_constant(weight) or (attrs.data_layout, attrs.kernel_layout) != ("NCHW", "OIHW"):
        return None
    if (shape_of(data)[3], shape_of(weight)[3], shape_of(call)[3]) != (1, 1, 1) or shape_of(call)[2] == 1:
        return None
    row = _row(scope, data)
    if row is None:
        row = scope.emit(relax.op.permute_dims(data, list(TURN)), layer_name(call))
    top, left, bottom, right = attrs.padding
    return relax.op.nn.conv2d(
        row,
        constant(np.ascontiguousarray(to_numpy(weight).transpose(TURN))),
        strides=attrs.strides[::-1],
        padding=(left, top, right, bottom),
        dilation=attrs.dilation[::-1],
        groups=attrs.groups,
        out_dtype=attrs.out_dtype,
    )


def _pointwise(scope: Scope, call: relax.Call) -> relax.Call | None:
    def moved(argument: relax.Expr) -> relax.Expr | None:
        return _row(scope, argument) if shape_of(argument) == shape_of(call) else None

    def per_channel(value: np.ndarray) -> relax.Expr | None:
        return constant(value) if value.ndim <= len(TURN) and value.shape[-2:] == (1, 1) else None

    return before_move(call, moved, per_channel)
