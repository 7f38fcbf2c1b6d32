"""Padding before a convolution or pooling --> the operator's own padding.

    conv2d(pad(x, 0), padding=p)                          --> conv2d(x, padding=p + widths)
    avg_pool2d(pad(x, 0), padding=0)                      --> avg_pool2d(x, widths, count_include_pad=True)
    max_pool2d(pad(x, lowest), padding=p)                 --> max_pool2d(x, padding=p + widths)

An average that leaves its own padding out of the count, or takes part windows (``ceil_mode``), would count
the explicit pads and its own alike afterwards, and a maximum would no longer see a zero: those stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import op_name
from .rewriting import Scope, apply_rule

LOWEST = float(np.finfo(np.float32).min)


@tvm.transform.module_pass(opt_level=0, name="tvmq.FoldPad")
@dataclass(frozen=True)
class FoldPad:
    """Fold constant padding of height and width into the operator behind it, where that is exact."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with pads folded."""
        return apply_rule(mod, _fold)


def _fold(scope: Scope, value: relax.Expr) -> relax.Expr | None:
    if op_name(value) not in FOLDS or not scope.used_once(value.args[0]):
        return None
    pad = scope.defined_by(value.args[0], "relax.nn.pad")
    if pad is None or pad.attrs.pad_mode != "constant":
        return None
    width = [int(count) for count in pad.attrs.pad_width]
    if len(width) != 8 or any(width[:4]) or min(width) < 0:
        return None
    # From (top, bottom, left, right) to TVM's (top, left, bottom, right).
    added = (width[4], width[6], width[5], width[7])
    padding = tuple(int(own) + more for own, more in zip(value.attrs.padding, added, strict=True))
    return FOLDS[op_name(value)](value, pad.args[0], float(pad.attrs.pad_value), padding)


def _fold_conv(
    call: relax.Call, data: relax.Expr, pad_value: float, padding: tuple[int, ...]
) -> relax.Expr | None:
    attrs = call.attrs
    if pad_value != 0.0 or attrs.data_layout != "NCHW":
        return None
    return relax.op.nn.conv2d(
        data,
        call.args[1],
        strides=attrs.strides,
        padding=padding,
        dilation=attrs.dilation,
        groups=attrs.groups,
        data_layout=attrs.data_layout,
        kernel_layout=attrs.kernel_layout,
        out_layout=attrs.out_layout,
        out_dtype=attrs.out_dtype,
    )


def _fold_average(
    call: relax.Call, data: relax.Expr, pad_value: float, padding: tuple[int, ...]
) -> relax.Expr | None:
    attrs = call.attrs
    counts_all = attrs.count_include_pad or not any(attrs.padding)
    if pad_value != 0.0 or not counts_all or attrs.ceil_mode or attrs.layout != "NCHW":
        return None
    return relax.op.nn.avg_pool2d(
        data,
        pool_size=attrs.pool_size,
        strides=attrs.strides,
        padding=padding,
        dilation=attrs.dilation,
        count_include_pad=True,
        layout=attrs.layout,
    )


def _fold_max(
    call: relax.Call, data: relax.Expr, pad_value: float, padding: tuple[int, ...]
) -> relax.Expr | None:
    attrs = call.attrs
    if pad_value > LOWEST or attrs.ceil_mode or attrs.layout != "NCHW":
        return None
    return relax.op.nn.max_pool2d(
        data,
        pool_size=attrs.pool_size,
        strides=attrs.strides,
        padding=padding,
        dilation=attrs.dilation,
        layout=attrs.layout,
    )


FOLDS = {
    "relax.nn.conv2d": _fold_conv,
    "relax.nn.avg_pool2d": _fold_average,
    "relax.nn.max_pool2d": _fold_max,
}
"""What each operator becomes, ``(call, data, pad value, whole padding) -> call``; None to leave it."""
