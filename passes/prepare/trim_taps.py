"""A convolution whose outer taps only ever meet padding --> one without them.

    a 3x3 kernel of dilation 24 on 20 x 20 numbers, padded by 24  -->  its centre alone, 1x1

Wide dilations on small images, as in the branches of DeepLab, are mostly such.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import constant, is_constant, op_name, shape_of, to_numpy
from .rewriting import Scope, apply_rule


@tvm.transform.module_pass(opt_level=0, name="tvmq.TrimTaps")
@dataclass(frozen=True)
class TrimTaps:
    """Drop the taps of convolutions with constant weights that read padding at every position."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with smaller kernels, and padding that is smaller by as much."""
        return apply_rule(mod, _trimmed)


def _trimmed(scope: Scope, call: relax.Expr) -> relax.Call | None:
    if op_name(call) != "relax.nn.conv2d" or not is_constant(call.args[1]):
        return None
    attrs = call.attrs
    if (attrs.data_layout, attrs.kernel_layout) != ("NCHW", "OIHW"):
        return None
    data, weight = call.args[0], to_numpy(call.args[1])
    padding = [int(width) for width in attrs.padding]
    kept = []
    for axis in range(2):
        step, spread = int(attrs.strides[axis]), int(attrs.dilation[axis])
        extent, count, taps = shape_of(data)[2 + axis], shape_of(call)[2 + axis], weight.shape[2 + axis]
        found = useful_taps(extent, count, taps, step, spread, (padding[axis], padding[2 + axis]))
        if found is None:
            return None
        useful, (padding[axis], padding[2 + axis]) = found
        kept.append(useful)
    smaller = weight[:, :, kept[0], kept[1]]
    if smaller.shape == weight.shape:
        return None
    return relax.op.nn.conv2d(
        data,
        constant(np.ascontiguousarray(smaller)),
        strides=attrs.strides,
        padding=padding,
        dilation=attrs.dilation,
        groups=attrs.groups,
        out_dtype=attrs.out_dtype,
    )


def useful_taps(
    extent: int, count: int, taps: int, step: int, spread: int, padding: tuple[int, int]
) -> tuple[slice, tuple[int, int]] | None:
    """Return the taps from the first to the last that reads data, and the padding that they need; None where none does.

    Parameters
    ----------
    extent, count : of the data and of the result, along one axis.
    step, spread : stride and dilation.
    padding : in front and behind.
    """
    places = np.arange(count) * step + np.arange(taps)[:, None] * spread - padding[0]
    useful = np.asarray(((places >= 0) & (places < extent)).any(axis=1))
    if not useful.any():
        return None
    first, last = int(useful.argmax()), taps - 1 - int(useful[::-1].argmax())
    front, back = padding[0] - first * spread, padding[1] - (taps - 1 - last) * spread
    return None if front < 0 or back < 0 else (slice(first, last + 1), (front, back))
