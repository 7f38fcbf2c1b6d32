"""Relax operators as nodes of ONNX.

    relax.nn.max_pool2d(x, pool_size, strides, padding)  -->  MaxPool(x, kernel_shape, strides, pads)

A writer takes a call and gives the nodes of one operator; ``OPERATORS`` has them all. What is not in it has no ONNX
form here, and the export says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
from tvm import relax

from ..passes.hub.graph import dtype_of, is_constant, op_name, shape_of, to_numpy
from ..passes.hub.limits import limits_of
from .graph import Graph


@dataclass(frozen=True)
class Node:
    """A call on its way into the graph.

    Attributes
    ----------
    layer : the user's node that it came from, ``""`` where it came from none.
    output : what its result is to be named after.
    """

    graph: Graph
    call: relax.Call
    layer: str
    output: str

    def input(self, place: int = 0) -> str:
        return self.name_of(self.call.args[place])

    def name_of(self, value: relax.Expr) -> str:
        """Return the tensor's name; a constant becomes an initializer."""
        return self.graph.name_of(value, f"{self.output}_constant")

    def constant(self, value: Any, dtype: str | None = None) -> str:
        array = np.asarray(value, dtype)
        return self.graph.constant(array, f"{self.output}_constant")

    def emit(self, op_type: str, *inputs: str, **attributes) -> str:
        """Add a node of the user's own name, whose result is the call's."""
        return self.graph.add(op_type, inputs, self.output, name=self.layer or self.output, **attributes)

    def inner(self, op_type: str, *inputs: str, **attributes) -> str:
        """Add a node before the last of several."""
        return self.graph.add(op_type, inputs, f"{self.output}_{op_type}", **attributes)


Write = Callable[[Node], str]


def _plain(op_type: str, node: Node) -> str:
    """Write an operator whose inputs are all tensors and which has no attributes."""
    return node.emit(op_type, *(node.name_of(argument) for argument in node.call.args))


def _ints(values: Sequence[Any]) -> list[int]:
    return [int(value) for value in values]


def _conv(node: Node) -> str:
    attrs = node.call.attrs
    if str(attrs.data_layout)[:2] != "NC" or str(attrs.kernel_layout)[:2] != "OI":
        raise ValueError(f"layout {attrs.data_layout}, {attrs.kernel_layout}")
    return node.emit("Conv", node.input(0), node.input(1), **conv_attributes(node.call))


def conv_attributes(call: relax.Call) -> dict[str, Any]:
    """Return ONNX's attributes of a convolution."""
    attrs = call.attrs
    return {
        "dilations": _ints(attrs.dilation),
        "group": int(attrs.groups),
        "kernel_shape": list(shape_of(call.args[1])[2:]),
        "pads": _ints(attrs.padding),
        "strides": _ints(attrs.strides),
    }


def _pool(op_type: str, node: Node) -> str:
    attrs = node.call.attrs
    more: dict[str, Any] = {}
    if op_type == "AveragePool":
        more["count_include_pad"] = int(attrs.count_include_pad)
    if any(step != 1 for step in _ints(attrs.dilation)):
        more["dilations"] = _ints(attrs.dilation)
    return node.emit(
        *(op_type, node.input()),
        kernel_shape=_ints(attrs.pool_size),
        strides=_ints(attrs.strides),
        pads=_ints(attrs.padding),
        ceil_mode=int(attrs.ceil_mode),
        **more,
    )


def _adaptive_average(node: Node) -> str:
    shape = shape_of(node.call)
    if any(extent != 1 for extent in shape[2:]):
        raise ValueError(f"an output of {list(shape[2:])}")
    return node.emit("GlobalAveragePool", node.input())


def _clip(node: Node) -> str:
    ends = (node.constant(limit, dtype_of(node.call)) for limit in limits_of(node.call))
    return node.emit("Clip", node.input(), *ends)


def _reduction(op_type: str, node: Node) -> str:
    attrs = node.call.attrs
    axes = [] if attrs.axis is None else [node.constant(_ints(attrs.axis), "int64")]
    return node.emit(op_type, node.input(), *axes, keepdims=int(attrs.keepdims))


def _arg(op_type: str, node: Node) -> str:
    attrs = node.call.attrs
    if attrs.axis is None:
        raise ValueError("all axes at once")
    return node.emit(op_type, node.input(), axis=int(attrs.axis), keepdims=int(attrs.keepdims))


def _to_shape(node: Node) -> str:
    return node.emit("Reshape", node.input(), node.constant(list(shape_of(node.call)), "int64"))


def _broadcast(node: Node) -> str:
    return node.emit("Expand", node.input(), node.constant(list(shape_of(node.call)), "int64"))


def _transpose(node: Node) -> str:
    axes = node.call.attrs.axes
    order = list(range(len(shape_of(node.call))))[::-1] if axes is None else _ints(axes)
    return node.emit("Transpose", node.input(), perm=order)


def _concat(node: Node) -> str:
    parts = [node.name_of(part) for part in node.call.args[0].fields]
    return node.emit("Concat", *parts, axis=int(node.call.attrs.axis or 0))


def _slice(node: Node) -> str:
    axes, begin, end, *strides = (_listed(argument) for argument in node.call.args[1:])
    steps = strides[0] if strides and strides[0] else [1] * len(axes)
    operands = [node.constant(values, "int64") for values in (begin, end, axes, steps)]
    return node.emit("Slice", node.input(), *operands)


def _listed(value: relax.Expr) -> list[int]:
    return [int(getattr(item, "value", item)) for item in value.fields]


def _take(node: Node) -> str:
    axis = node.call.attrs.axis
    if axis is None:
        raise ValueError("no axis")
    return node.emit("Gather", node.input(0), node.input(1), axis=int(axis))


def _softmax(op_type: str, node: Node) -> str:
    return node.emit(op_type, node.input(), axis=int(node.call.attrs.axis))


def _norm(op_type: str, opset: int, node: Node) -> str:
    attrs, rank = node.call.attrs, len(shape_of(node.call))
    axes = sorted(axis % rank for axis in _ints(attrs.axes))
    if axes != list(range(axes[0], rank)):
        raise ValueError(f"axes {axes} that are not the last")
    node.graph.needs(opset)
    operands = (node.name_of(argument) for argument in node.call.args)
    return node.emit(op_type, *operands, axis=axes[0], epsilon=float(attrs.epsilon))


def _gelu(approximate: str, node: Node) -> str:
    node.graph.needs(20)
    return node.emit("Gelu", node.input(), approximate=approximate)


def _silu(node: Node) -> str:
    return node.emit("Mul", node.input(), node.inner("Sigmoid", node.input()))


def _rsqrt(node: Node) -> str:
    return node.emit("Reciprocal", node.inner("Sqrt", node.input()))


def _not_equal(node: Node) -> str:
    return node.emit("Not", node.inner("Equal", node.input(0), node.input(1)))


def _shape(node: Node) -> str:
    return node.constant(list(shape_of(node.call.args[0])), "int64")


def _same(node: Node) -> str:
    return node.input()


def _is_finite(node: Node) -> str:
    return node.emit(
        "Not", node.inner("Or", *(node.inner(kind, node.input()) for kind in ("IsNaN", "IsInf")))
    )


def _floor_mod(node: Node) -> str:
    if dtype_of(node.call).startswith("float"):  # ONNX's takes the dividend's sign there
        whole = node.inner("Floor", node.inner("Div", node.input(0), node.input(1)))
        return node.emit("Sub", node.input(0), node.inner("Mul", whole, node.input(1)))
    return node.emit("Mod", node.input(0), node.input(1))


def _leaky_relu(node: Node) -> str:
    return node.emit("LeakyRelu", node.input(), alpha=float(node.call.attrs.alpha))


def _prelu(node: Node) -> str:
    shape, axis = shape_of(node.call), int(node.call.attrs.axis)
    slope = to_numpy(node.call.args[1]) if is_constant(node.call.args[1]) else None
    spread = [-1, *[1] * (len(shape) - axis % len(shape) - 1)]
    if slope is None:
        slopes = node.inner("Reshape", node.input(1), node.constant(spread, "int64"))
    else:
        slopes = node.constant(slope.reshape(spread))
    return node.emit("PRelu", node.input(), slopes)


def _cast(node: Node) -> str:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype_of(node.call)))
    return node.emit("Cast", node.input(), to=kind)


def _pad(node: Node) -> str:
    attrs, rank = node.call.attrs, len(shape_of(node.call))
    width = _ints(attrs.pad_width)
    pads = [*width[0::2], *width[1::2]]
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}.get(str(attrs.pad_mode))
    if mode is None or len(pads) != 2 * rank:
        raise ValueError(f"mode {attrs.pad_mode}")
    value = [node.constant(float(attrs.pad_value), dtype_of(node.call))] if mode == "constant" else []
    return node.emit("Pad", node.input(), node.constant(pads, "int64"), *value, mode=mode)


def _resize(node: Node) -> str:
    attrs = node.call.attrs
    if str(attrs.layout) != "NCHW" or str(attrs.method) not in ("linear", "nearest_neighbor"):
        raise ValueError(f"layout {attrs.layout}, method {attrs.method}")
    sizes = node.constant(list(shape_of(node.call)), "int64")
    nearest = {"round": "round_prefer_floor", "floor": "floor", "ceil": "ceil"}
    mode = "linear" if str(attrs.method) == "linear" else "nearest"
    more: dict[str, Any] = (
        {} if mode == "linear" else {"nearest_mode": nearest.get(str(attrs.rounding_method), "floor")}
    )
    return node.emit(
        *("Resize", node.input(), "", "", sizes),
        mode=mode,
        coordinate_transformation_mode=str(attrs.coordinate_transformation_mode),
        **more,
    )


def write_split(graph: Graph, call: relax.Call, data: str, layer: str, output: str) -> list[str]:
    """Write ``relax.split``, which has several results; return their names."""
    sizes = [int(field.shape[int(call.attrs.axis)]) for field in call.ty.fields]
    outputs = [graph.unique(f"{output}_{place}") for place in range(len(sizes))]
    lengths = graph.constant(np.array(sizes), f"{output}_split")
    graph.several("Split", [data, lengths], outputs, name=layer, axis=int(call.attrs.axis))
    return outputs


_PLAIN = {
    "relax.abs": "Abs",
    "relax.acos": "Acos",
    "relax.add": "Add",
    "relax.asin": "Asin",
    "relax.atan": "Atan",
    "relax.ceil": "Ceil",
    "relax.cos": "Cos",
    "relax.divide": "Div",
    "relax.equal": "Equal",
    "relax.erf": "Erf",
    "relax.exp": "Exp",
    "relax.floor": "Floor",
    "relax.greater": "Greater",
    "relax.greater_equal": "GreaterOrEqual",
    "relax.isinf": "IsInf",
    "relax.isnan": "IsNaN",
    "relax.less": "Less",
    "relax.less_equal": "LessOrEqual",
    "relax.log": "Log",
    "relax.logical_and": "And",
    "relax.logical_not": "Not",
    "relax.logical_or": "Or",
    "relax.matmul": "MatMul",
    "relax.maximum": "Max",
    "relax.minimum": "Min",
    "relax.multiply": "Mul",
    "relax.negative": "Neg",
    "relax.nn.relu": "Relu",
    "relax.power": "Pow",
    "relax.round": "Round",
    "relax.sigmoid": "Sigmoid",
    "relax.sign": "Sign",
    "relax.sin": "Sin",
    "relax.sqrt": "Sqrt",
    "relax.subtract": "Sub",
    "relax.tan": "Tan",
    "relax.tanh": "Tanh",
    "relax.where": "Where",
}
"""Operator to ONNX's of the same inputs."""

OPERATORS: dict[str, Write] = {
    **{name: partial(_plain, op_type) for name, op_type in _PLAIN.items()},
    "relax.argmax": partial(_arg, "ArgMax"),
    "relax.argmin": partial(_arg, "ArgMin"),
    "relax.astype": _cast,
    "relax.broadcast_to": _broadcast,
    "relax.clip": _clip,
    "relax.concat": _concat,
    "relax.expand_dims": _to_shape,
    "relax.flatten": _to_shape,
    "relax.floor_mod": _floor_mod,
    "relax.image.resize2d": _resize,
    "relax.isfinite": _is_finite,
    "relax.max": partial(_reduction, "ReduceMax"),
    "relax.mean": partial(_reduction, "ReduceMean"),
    "relax.min": partial(_reduction, "ReduceMin"),
    "relax.nn.adaptive_avg_pool2d": _adaptive_average,
    "relax.nn.avg_pool2d": partial(_pool, "AveragePool"),
    "relax.nn.conv1d": _conv,
    "relax.nn.conv2d": _conv,
    "relax.nn.conv3d": _conv,
    "relax.nn.gelu": partial(_gelu, "none"),
    "relax.nn.gelu_tanh": partial(_gelu, "tanh"),
    "relax.nn.layer_norm": partial(_norm, "LayerNormalization", 17),
    "relax.nn.leakyrelu": _leaky_relu,
    "relax.nn.log_softmax": partial(_softmax, "LogSoftmax"),
    "relax.nn.max_pool2d": partial(_pool, "MaxPool"),
    "relax.nn.pad": _pad,
    "relax.nn.prelu": _prelu,
    "relax.nn.rms_norm": partial(_norm, "RMSNormalization", 23),
    "relax.nn.silu": _silu,
    "relax.nn.softmax": partial(_softmax, "Softmax"),
    "relax.not_equal": _not_equal,
    "relax.permute_dims": _transpose,
    "relax.prod": partial(_reduction, "ReduceProd"),
    "relax.reshape": _to_shape,
    "relax.rsqrt": _rsqrt,
    "relax.shape_of": _shape,
    "relax.shape_to_tensor": _same,
    "relax.squeeze": _to_shape,
    "relax.strided_slice": _slice,
    "relax.sum": partial(_reduction, "ReduceSum"),
    "relax.take": _take,
}
"""Operator to what writes it; raises ``ValueError`` with what of it ONNX, or this file, does not know."""


def write(node: Node) -> str:
    """Add the nodes of a call; return the name of its result.

    Raises
    ------
    ValueError : it has no form in ONNX.
    """
    name = op_name(node.call)
    if name == "relax.call_tir":
        raise ValueError("it is a kernel, as recurrent layers and weights of weight-only schemes are")
    if name not in OPERATORS:
        raise ValueError("it has no ONNX form here")
    return OPERATORS[name](node)
