"""Convolution and pooling of signals --> the same of images of height 1.

    conv1d(x, w)        -->  squeeze(conv2d(expand_dims(x, 2), expand_dims(w, 2)), 2)
    f(squeeze(y, 2))    -->  squeeze(f(y), 2)                       f pointwise, its constants with one more axis
    conv1d(squeeze(y))  -->  squeeze(conv2d(y, ...))

So the kernels, and the passes that look for a bias or an activation behind a convolution, know one kind only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.graph import constant, is_constant, layer_name, op_name, shape_of, to_numpy
from .pointwise import POINTWISE, before_move
from .rewriting import Scope, apply_rule

HEIGHT = 2
"""The axis that images have and signals lack."""


@tvm.transform.module_pass(opt_level=0, name="tvmq.Widen1d")
@dataclass(frozen=True)
class Widen1d:
    """Write operators on ``[N, C, W]`` as those on ``[N, C, 1, W]``."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module without one-dimensional convolution and pooling."""
        return apply_rule(mod, _widen)


def _widen(scope: Scope, value: relax.Expr) -> relax.Expr | None:
    make = WIDENED.get(op_name(value))
    if make is not None:
        wide = make(value, _wide(scope, value.args[0], layer_name(value)), scope)
    elif op_name(value) in POINTWISE and len(shape_of(value)) == HEIGHT + 1:
        wide = _pointwise(scope, value)
    else:
        return None
    if wide is None:
        return None
    return relax.op.squeeze(scope.emit(wide, layer_name(value)), [HEIGHT])


def _squeezed(scope: Scope, expr: relax.Expr) -> relax.Expr | None:
    """Return the image of which ``expr`` is the squeezed signal; None where it is none."""
    squeeze = scope.defined_by(expr, "relax.squeeze")
    if squeeze is None or squeeze.attrs.axis is None or len(shape_of(squeeze.args[0])) != HEIGHT + 2:
        return None
    return squeeze.args[0] if [int(axis) for axis in squeeze.attrs.axis] == [HEIGHT] else None


def _wide(scope: Scope, expr: relax.Expr, name: str) -> relax.Expr:
    image = _squeezed(scope, expr)
    return scope.emit(relax.op.expand_dims(expr, HEIGHT), name) if image is None else image


def _pointwise(scope: Scope, call: relax.Call) -> relax.Call | None:
    """Return the call on images, where each operand is one, or a constant that can be."""

    def with_height(value: np.ndarray) -> relax.Expr:
        full = (1,) * (HEIGHT + 1 - value.ndim) + value.shape
        return constant(value.reshape(*full[:HEIGHT], 1, *full[HEIGHT:]))

    return before_move(call, partial(_squeezed, scope), with_height)


def _conv(call: relax.Call, data: relax.Expr, scope: Scope) -> relax.Call | None:
    attrs = call.attrs
    if (attrs.data_layout, attrs.kernel_layout) != ("NCW", "OIW"):
        return None
    return relax.op.nn.conv2d(
        data,
        _widened(scope, call.args[1], layer_name(call)),
        strides=(1, attrs.strides[0]),
        padding=_padding(attrs),
        dilation=(1, attrs.dilation[0]),
        groups=attrs.groups,
        out_dtype=attrs.out_dtype,
    )


def _padding(attrs) -> tuple[int, int, int, int]:
    """Return (top, left, bottom, right)."""
    before, after = attrs.padding
    return 0, before, 0, after


def _pool(pool: Callable[..., relax.Call]) -> Callable[[relax.Call, relax.Expr, Scope], relax.Call | None]:
    def make(call: relax.Call, data: relax.Expr, scope: Scope) -> relax.Call | None:
        attrs = call.attrs
        if attrs.layout != "NCW":
            return None
        return pool(
            data,
            pool_size=(1, attrs.pool_size[0]),
            strides=(1, attrs.strides[0]),
            padding=_padding(attrs),
            dilation=(1, attrs.dilation[0]),
            ceil_mode=attrs.ceil_mode,
            count_include_pad=attrs.count_include_pad,
        )

    return make


def _transposed(call: relax.Call, data: relax.Expr, scope: Scope) -> relax.Call | None:
    attrs = call.attrs
    if (attrs.data_layout, attrs.kernel_layout) != ("NCW", "IOW"):
        return None
    return relax.op.nn.conv2d_transpose(
        data,
        _widened(scope, call.args[1], layer_name(call)),
        strides=(1, attrs.strides[0]),
        padding=_padding(attrs),
        output_padding=(0, attrs.output_padding[0]),
        dilation=(1, attrs.dilation[0]),
        groups=attrs.groups,
        out_dtype=attrs.out_dtype,
    )


def _widened(scope: Scope, weight: relax.Expr, name: str) -> relax.Expr:
    """Return weights of signals as those of images."""
    if is_constant(weight):
        return constant(to_numpy(weight)[:, :, None])
    return scope.emit(relax.op.expand_dims(weight, HEIGHT), name)


WIDENED: dict[str, Callable[[relax.Call, relax.Expr, Scope], relax.Call | None]] = {
    "relax.nn.conv1d": _conv,
    "relax.nn.conv1d_transpose": _transposed,
    "relax.nn.max_pool1d": _pool(relax.op.nn.max_pool2d),
    "relax.nn.avg_pool1d": _pool(relax.op.nn.avg_pool2d),
}
"""``(call, image, scope) -> the call on images``; None where its layout is another."""
