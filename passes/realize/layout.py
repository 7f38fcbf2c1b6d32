"""NCHW --> NHWC, once for the whole graph.

    conv2d(x)                            -->  permute(conv2d[NHWC](permute(x)))
    conv2d(permute(permute(x)))          -->  conv2d(x)

Every kernel has channels as its vector axis. Each value that an operator with a layout computes is made in NHWC, with a
transpose behind it for whoever reads NCHW; a reader that can work in NHWC takes the value before the transpose.
Operators without a layout of their own follow their inputs. Transposes that nobody reads are dropped, so they remain
only where the model's own inputs and outputs, and operators such as reshape, need NCHW.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tvm
from tvm import relax

from ..hub.conditions import NHWC
from ..hub.contract import module_pass
from ..hub.graph import (
    Constant,
    is_constant,
    layer_name,
    op_name,
    rebuild,
    shape_of,
    to_numpy,
    with_layer_name,
)

TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)
_AXIS = (0, 3, 1, 2)
"""Where each NCHW axis lies in NHWC."""

ELEMENTWISE = frozenset(
    f"relax.{name}"
    for name in (
        "abs add ceil clip cos divide equal erf exp floor greater greater_equal less less_equal log maximum minimum "
        "multiply negative not_equal power round rsqrt sigmoid sign sin sqrt square subtract tan tanh where astype "
        "nn.relu nn.relu6 nn.gelu nn.gelu_tanh nn.leakyrelu nn.selu nn.silu nn.softplus"
    ).split()
)
"""Operators that treat all elements alike, so that any layout will do."""

WINDOWED = frozenset({"relax.nn.max_pool2d", "relax.nn.avg_pool2d", "relax.nn.adaptive_avg_pool2d"})


@module_pass(ensures=(NHWC,))
@dataclass(frozen=True)
class Layout:
    """Bring the image operators of ``main`` to NHWC; convolution weights stay OIHW."""

    def transform_module(self, mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
        mod = rebuild(mod, _Rewriter().rewrite)
        return tvm.transform.Sequential(
            [relax.transform.CanonicalizeBindings(), relax.transform.DeadCodeElimination()]
        )(mod)


def transpose(builder: relax.BlockBuilder, value: relax.Expr, axes: Sequence[int], name: str) -> relax.Var:
    """Bind the transposed value; where only extents of 1 move, it is a reshape, which costs nothing."""
    shape = shape_of(value)
    moved = [axis for axis in axes if shape[axis] != 1]
    if moved == sorted(moved):
        call = relax.op.reshape(value, tuple(shape[axis] for axis in axes))
    else:
        call = relax.op.permute_dims(value, list(axes))
    return builder.emit(with_layer_name(call, name))


class _Rewriter:
    """Rewrites the bindings in order, and knows which NCHW values are transposes of which NHWC values."""

    def __init__(self) -> None:
        self.nhwc: dict[relax.Var, relax.Var] = {}
        self.items: dict[relax.Var, list[relax.Var]] = {}

    def rewrite(self, builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if isinstance(value, relax.TupleGetItem) and value.tuple_value in self.items:
            return self.items[value.tuple_value][value.index]
        if op_name(value) == "relax.permute_dims" and len(shape_of(value.args[0])) == 4:
            return self._permuted(builder, value)
        convert = _CONVERTERS.get(op_name(value))
        if convert is None:
            return value
        self.builder, self.name = builder, layer_name(value)
        moved = convert(self, value)
        if moved is None:
            return value
        moved = builder.emit(with_layer_name(moved, self.name))
        if not isinstance(moved.ty, relax.TupleType):
            return self.back(moved)
        items = [builder.emit(relax.TupleGetItem(moved, index)) for index in range(len(moved.ty.fields))]
        whole = builder.emit(relax.Tuple([self.back(item) for item in items]))
        self.items[whole] = list(builder.lookup_binding(whole).fields)
        return whole

    def _permuted(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        """Return an image's transpose to NHWC, or one from there, as what it is: the same value."""
        data, axes = call.args[0], call.attrs.axes
        order = (3, 2, 1, 0) if axes is None else tuple(int(axis) for axis in axes)
        if order == TO_NHWC and data in self.nhwc:
            return self.nhwc[data]
        if data in self.nhwc and order == (0, 1, 3, 2) and 1 in shape_of(data)[2:]:
            self.builder, self.name = builder, layer_name(call)
            return self.back(transpose(builder, self.nhwc[data], (0, 2, 1, 3), self.name))
        if order != TO_NCHW:
            return transpose(builder, data, order, layer_name(call))
        original = builder.emit(call)
        self.nhwc[original] = data
        return original

    def back(self, moved: relax.Var) -> relax.Expr:
        """Return the NCHW form of an NHWC value; a value that has lost its image axes needs none."""
        if len(shape_of(moved)) != 4:
            return moved
        original = transpose(self.builder, moved, TO_NCHW, self.name)
        self.nhwc[original] = moved
        return original

    def follows(self, *values: relax.Expr) -> bool:
        """Tell whether one of the values exists in NHWC already."""
        return any(isinstance(value, relax.Var) and value in self.nhwc for value in values)

    def moved(self, value: relax.Expr) -> relax.Expr:
        """Return the NHWC form of an NCHW value, or of a constant that broadcasts against one."""
        if not isinstance(value, relax.Var | Constant):
            return value
        shape = shape_of(value)
        if is_constant(value):
            array = to_numpy(value)
            if array.size == 1:
                return value
            return relax.const(array.reshape((1,) * (4 - len(shape)) + shape).transpose(TO_NHWC))
        if len(shape) < 4:
            if not shape:
                return value
            value = self.builder.emit(relax.op.reshape(value, (1,) * (4 - len(shape)) + shape))
        if value not in self.nhwc:
            self.nhwc[value] = transpose(self.builder, value, TO_NHWC, self.name)
        return self.nhwc[value]


Converter = Callable[[_Rewriter, relax.Call], relax.Expr | None]
"""``(rewriter, NCHW call) -> NHWC call``, or None where the call stays as it is."""


def _conv2d(rewriter: _Rewriter, call: relax.Call) -> relax.Expr | None:
    attrs = call.attrs
    if attrs.data_layout != "NCHW" or attrs.kernel_layout != "OIHW":
        return None
    return relax.op.nn.conv2d(
        rewriter.moved(call.args[0]),
        call.args[1],
        strides=attrs.strides,
        padding=attrs.padding,
        dilation=attrs.dilation,
        groups=attrs.groups,
        data_layout="NHWC",
        kernel_layout="OIHW",
        out_layout="NHWC",
    )


def _windowed(rewriter: _Rewriter, call: relax.Call) -> relax.Expr | None:
    attrs = call.attrs
    if attrs.layout != "NCHW":
        return None
    data = rewriter.moved(call.args[0])
    if op_name(call) == "relax.nn.adaptive_avg_pool2d":
        return relax.op.nn.adaptive_avg_pool2d(data, attrs.output_size, layout="NHWC")
    make = relax.op.nn.max_pool2d if op_name(call) == "relax.nn.max_pool2d" else relax.op.nn.avg_pool2d
    return make(
        data,
        pool_size=attrs.pool_size,
        strides=attrs.strides,
        padding=attrs.padding,
        dilation=attrs.dilation,
        ceil_mode=attrs.ceil_mode,
        count_include_pad=attrs.count_include_pad,
        layout="NHWC",
    )


def _resize2d(rewriter: _Rewriter, call: relax.Call) -> relax.Expr | None:
    attrs = call.attrs
    if attrs.layout != "NCHW":
        return None
    return relax.op.image.resize2d(
        rewriter.moved(call.args[0]),
        call.args[1],
        roi=tuple(attrs.roi),
        layout="NHWC",
        method=attrs.method,
        coordinate_transformation_mode=attrs.coordinate_transformation_mode,
        rounding_method=attrs.rounding_method,
        cubic_alpha=attrs.cubic_alpha,
        cubic_exclude=attrs.cubic_exclude,
        extrapolation_value=attrs.extrapolation_value,
    )


def _elementwise(rewriter: _Rewriter, call: relax.Call) -> relax.Expr | None:
    tensors = [argument for argument in call.args if isinstance(argument, relax.Var | Constant)]
    if not rewriter.follows(*tensors) or max(len(shape_of(tensor)) for tensor in tensors) > 4:
        return None
    return relax.Call(call.op, [rewriter.moved(argument) for argument in call.args], call.attrs, call.ty_args)


def _quantization(rewriter: _Rewriter, call: relax.Call) -> relax.Expr | None:
    if not rewriter.follows(call.args[0]):
        return None
    data, scale, zero_point = call.args
    make = relax.op.quantize if op_name(call) == "relax.quantize" else relax.op.dequantize
    axis = call.attrs.axis if call.attrs.axis < 0 else _AXIS[call.attrs.axis]
    if shape_of(scale) not in ((), (1,)):
        axis = _AXIS[call.attrs.axis % 4]
    return make(rewriter.moved(data), scale, zero_point, axis=axis, out_dtype=call.attrs.out_dtype)


def _concat(rewriter: _Rewriter, call: relax.Call) -> relax.Expr | None:
    fields = call.args[0]
    if not isinstance(fields, relax.Tuple) or not rewriter.follows(*fields.fields):
        return None
    return relax.op.concat([rewriter.moved(field) for field in fields.fields], _AXIS[call.attrs.axis % 4])


def _split(rewriter: _Rewriter, call: relax.Call) -> relax.Expr | None:
    if not rewriter.follows(call.args[0]):
        return None
    sections = call.attrs.indices_or_sections
    equal = isinstance(sections, int | tvm.tirx.IntImm)
    sections = int(sections) if equal else [int(index) for index in sections]
    return relax.op.split(rewriter.moved(call.args[0]), sections, _AXIS[call.attrs.axis % 4])


def _mean(rewriter: _Rewriter, call: relax.Call) -> relax.Expr | None:
    axes = call.attrs.axis
    if not rewriter.follows(call.args[0]) or axes is None:
        return None
    axes = sorted(int(axis) % 4 for axis in axes)
    if axes != [2, 3]:
        return None
    return relax.op.mean(rewriter.moved(call.args[0]), [1, 2], call.attrs.keepdims)


def _pad(rewriter: _Rewriter, call: relax.Call) -> relax.Expr | None:
    if not rewriter.follows(call.args[0]):
        return None
    widths = [int(width) for width in call.attrs.pad_width]
    pairs = [widths[2 * axis : 2 * axis + 2] for axis in TO_NHWC]
    value, mode = call.attrs.pad_value, call.attrs.pad_mode
    return relax.op.nn.pad(
        rewriter.moved(call.args[0]), [w for pair in pairs for w in pair], mode, float(value)
    )


def _strided_slice(rewriter: _Rewriter, call: relax.Call) -> relax.Expr | None:
    data, axes, *bounds = call.args
    if not rewriter.follows(data) or not isinstance(axes, relax.Tuple):
        return None
    moved_axes = relax.Tuple([tvm.tirx.IntImm("int64", _AXIS[int(axis) % 4]) for axis in axes.fields])
    return relax.Call(call.op, [rewriter.moved(data), moved_axes, *bounds], call.attrs, call.ty_args)


def _take(rewriter: _Rewriter, call: relax.Call) -> relax.Expr | None:
    data, indices = call.args
    if not rewriter.follows(data) or call.attrs.axis is None or len(shape_of(indices)) != 1:
        return None
    return relax.op.take(rewriter.moved(data), indices, _AXIS[int(call.attrs.axis) % 4], call.attrs.mode)


_CONVERTERS: dict[str, Converter] = {
    "relax.nn.conv2d": _conv2d,
    **dict.fromkeys(WINDOWED, _windowed),
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    "relax.image.resize2d": _resize2d,
    "relax.quantize": _quantization,
    "relax.dequantize": _quantization,
    "relax.concat": _concat,
    "relax.split": _split,
    "relax.mean": _mean,
    "relax.nn.pad": _pad,
    "relax.strided_slice": _strided_slice,
    "relax.take": _take,
}
