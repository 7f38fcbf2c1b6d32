"""A Q/DQ module of the hub as an ONNX file: the model's operators, between QuantizeLinear and DequantizeLinear.

Weights are integers behind DequantizeLinear, of 4 bits where the layer has no more. The bias of a quantized
convolution or product is int32 with the scale of its sums, as kernels add it, so it differs from the hub's float one by
half a step of that scale at most. What comes back by ``tvmc compile`` has the same integers.
Definition: https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tvm
from onnx import helper
from tvm import relax

from ..errors import TvmqError
from ..passes.hub.bits import get_bits
from ..passes.hub.fixed_point import fixed_points_of
from ..passes.hub.graph import (
    bindings_of,
    consumers_of,
    dtype_of,
    is_constant,
    layer_name,
    op_name,
    output_names,
    results_of,
    shape_of,
    to_numpy,
)
from ..replacing import replacing
from .graph import Graph
from .operators import Node, conv_attributes, write, write_split

FEW_BITS = 4
"""Weights of so many bits and fewer are stored as int4."""

LARGEST_FILE = 2**31 - 2**20
"""Bytes of one protobuf message, with some room; weights of a larger model lie in a file beside it."""

WIDE = frozenset({"int16", "uint16"})
"""Dtypes that Q and DQ know from operator set 21 on."""


def to_onnx(mod: tvm.IRModule) -> onnx.ModelProto:
    """Return the module as an ONNX model with the names of the one that it was imported from.

    Parameters
    ----------
    mod : a module of the hub (``docs/architecture.md``) of static shapes.

    Raises
    ------
    TvmqError : an operator has no form in ONNX, or a dimension is open; the model's file fixes other integers.
    """
    if fixed_points_of(mod):
        raise TvmqError(
            "exact integers of TFLite (--tflite-exact) cannot be written as ONNX, which has others"
        )
    return _Writer(mod).model()


def save_onnx(model: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Write a model; its weights to ``<name>.data`` beside it where one file cannot hold them.

    Raises
    ------
    TvmqError : the file cannot be written.
    """
    target = Path(path)
    is_large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > LARGEST_FILE
    weights = target.with_name(f"{target.name}.data")
    how: dict[str, Any] = {"save_as_external_data": True, "location": weights.name} if is_large else {}
    try:
        if is_large:
            weights.unlink(missing_ok=True)  # ONNX would write behind those of an earlier model
        with replacing(target) as temporary:
            onnx.save(model, temporary, **how)
    except OSError as error:
        raise TvmqError(f"{path} cannot be written: {error.strerror or error}") from error


class _Writer:
    """One module on its way to ONNX."""

    def __init__(self, mod: tvm.IRModule):
        self._mod = mod
        self._graph = Graph()
        self._bits = get_bits(mod)
        self._bindings = {binding.var: binding.value for binding in bindings_of(mod)}
        self._readers = consumers_of(mod)
        self._params = list(mod["main"].params)
        self._results = [self._resolved(value) for value in results_of(mod)]
        self._outputs = output_names(mod)

    def model(self) -> onnx.ModelProto:
        graph = self._graph
        for name in (*(param.name for param in self._params), *self._outputs):
            graph.reserve(name)
        for param in self._params:
            graph.bind(param, param.name)
        for var, value in self._bindings.items():
            self._write(var, value)
        outputs = [
            self._output(name, value) for name, value in zip(self._outputs, self._results, strict=True)
        ]
        inputs = [_value_info(param.name, param) for param in self._params]
        made = helper.make_graph(graph.nodes, "tvmq", inputs, outputs, graph.initializers)
        imports = [helper.make_opsetid("", graph.opset)]
        return helper.make_model(
            made,
            opset_imports=imports,
            producer_name="tvmq",
            ir_version=helper.find_min_ir_version_for(imports),
        )

    def _resolved(self, value: relax.Expr) -> relax.Expr:
        """Return what a variable that is only another name for a value stands for."""
        while isinstance(value, relax.Var) and isinstance(
            bound := self._bindings.get(value), relax.Var | relax.TupleGetItem
        ):
            value = bound
        return value

    def _output(self, name: str, value: relax.Expr) -> onnx.ValueInfoProto:
        """Give an output its own name, and return what is known of it."""
        self._graph.several("Identity", [self._graph.name_of(value, f"{name}_constant")], [name], name=name)
        return _value_info(name, value)

    def _write(self, var: relax.Var, value: relax.Expr) -> None:
        graph = self._graph
        if isinstance(value, relax.Var):
            graph.bind(var, *graph.names(value))
        elif isinstance(value, relax.TupleGetItem):
            graph.bind(var, graph.names(value.tuple_value)[value.index])
        elif isinstance(value, relax.Tuple):
            graph.bind(var, *(graph.name_of(item, f"{var.name}_constant") for item in value.fields))
        elif is_constant(value):
            graph.bind(var, graph.constant(to_numpy(value), var.name))
        elif not self._takes_bias(var):
            layer = layer_name(value)
            try:
                graph.bind(var, *self._call(var, value, layer))
            except ValueError as error:
                where = f"node {layer!r}" if layer else "an operator"
                raise TvmqError(
                    f"{where} ({op_name(value) or 'a kernel'}) cannot be written as ONNX: {error}"
                ) from error

    def _call(self, var: relax.Var, call: relax.Call, layer: str) -> list[str]:
        graph, name = self._graph, op_name(call)
        output = layer or name.rsplit(".", 1)[-1]
        node = Node(graph, call, layer, output)
        if name == "relax.dequantize" and is_constant(call.args[0]):
            return [self._weight(call, self._readers.get(var, []))]
        if name in ("relax.quantize", "relax.dequantize"):
            op_type = "QuantizeLinear" if name == "relax.quantize" else "DequantizeLinear"
            return [self._linear(op_type, call, node.input(0), output)]
        if name == "relax.split":
            return write_split(graph, call, node.input(), layer, output)
        biased = self._biased(call)
        return [write(node) if biased is None else self._with_bias(node, biased)]

    def _pair_node(self, op_type: str, inputs: list[str], scale: np.ndarray, axis: int, output: str) -> str:
        """Add one node of Q or DQ; the axis counts where there is a scale for each place on it."""
        attributes: dict[str, Any] = {} if scale.size == 1 else {"axis": axis}
        return self._graph.add(op_type, inputs, f"{output}_{op_type}", **attributes)

    def _linear(self, op_type: str, call: relax.Call, value: str, output: str) -> str:
        scale, zero = (to_numpy(argument) for argument in call.args[1:])
        if zero.dtype.name in WIDE:
            self._graph.needs(21)
        parameters = [
            self._graph.constant(_short(array), f"{output}_{what}")
            for array, what in ((scale, "scale"), (zero, "zero_point"))
        ]
        axis = int(call.attrs.axis) % max(len(shape_of(call)), 1)
        return self._pair_node(op_type, [value, *parameters], scale, axis, output)

    def _weight(self, call: relax.Call, readers: list[relax.Expr]) -> str:
        """Write weights: integers behind DequantizeLinear, named after the layer that reads them first."""
        values, scale, zero = (to_numpy(argument) for argument in call.args)
        reader = next((layer_name(each) for each in readers if layer_name(each)), "weight")
        store: Callable[[np.ndarray, str], str] = self._graph.constant
        if values.dtype == np.int8 and self._bits.of_weights(reader) <= FEW_BITS and _fits_int4(values, zero):
            self._graph.needs(21)
            store = self._int4
        inputs = [
            store(values, f"{reader}_weight"),
            self._graph.constant(_short(scale), f"{reader}_scale"),
            store(_short(zero), f"{reader}_zero_point"),
        ]
        axis = int(call.attrs.axis) % max(values.ndim, 1)
        return self._pair_node("DequantizeLinear", inputs, scale, axis, f"{reader}_weight")

    def _int4(self, values: np.ndarray, name: str) -> str:
        name = self._graph.unique(name)
        self._graph.initializers.append(
            helper.make_tensor(name, onnx.TensorProto.INT4, list(values.shape), values.ravel().tolist())
        )
        return name

    def _takes_bias(self, var: relax.Var) -> bool:
        """Tell whether a convolution or product is written where its bias is added."""
        readers = self._readers.get(var, [])
        value = self._bindings[var]
        return len(readers) == 1 and self._biased(readers[0]) is value

    def _biased(self, call: relax.Expr) -> relax.Call | None:
        """Return the convolution, or the product of two matrices, to which a call adds a constant per channel."""
        if (
            op_name(call) != "relax.add"
            or not isinstance(call.args[0], relax.Var)
            or not is_constant(call.args[1])
        ):
            return None
        sums = self._bindings.get(call.args[0])
        if len(self._readers.get(call.args[0], [])) != 1 or call.args[0] in self._results:
            return None
        shape, rank = shape_of(call.args[1]), len(shape_of(call))
        channels = 1 if op_name(sums).startswith("relax.nn.conv") else rank - 1
        if op_name(sums) == "relax.matmul" and (rank != 2 or len(shape_of(sums.args[1])) != 2):
            return None
        if op_name(sums) not in ("relax.matmul", "relax.nn.conv1d", "relax.nn.conv2d", "relax.nn.conv3d"):
            return None
        spread = (1,) * (rank - len(shape)) + shape
        wanted = tuple(extent if axis == channels else 1 for axis, extent in enumerate(shape_of(call)))
        return sums if spread == wanted else None

    def _with_bias(self, node: Node, sums: relax.Call) -> str:
        operands = Node(node.graph, sums, layer_name(sums) or node.layer, node.output)
        bias = self._bias(sums, to_numpy(node.call.args[1]).reshape(-1), operands.layer)
        inputs = operands.input(0), operands.input(1), bias
        if op_name(sums) == "relax.matmul":
            return operands.emit("Gemm", *inputs)
        return operands.emit("Conv", *inputs, **conv_attributes(sums))

    def _bias(self, sums: relax.Call, bias: np.ndarray, layer: str) -> str:
        """Write a bias: int32 of the scale of the sums where both operands are quantized, else float32."""
        data_scale, weight_scale = (self._scale_of(argument) for argument in sums.args[:2])
        if data_scale is None or weight_scale is None or data_scale.size != 1:
            return self._graph.constant(bias, f"{layer}_bias")
        scale = (data_scale.reshape(()) * weight_scale).astype(np.float32)
        rounded = np.rint(bias.astype(np.float64) / scale)
        if np.abs(rounded).max(initial=0) >= 2**31:
            return self._graph.constant(bias, f"{layer}_bias")
        inputs = [
            self._graph.constant(rounded.astype(np.int32), f"{layer}_bias"),
            self._graph.constant(_short(scale), f"{layer}_bias_scale"),
        ]
        return self._pair_node("DequantizeLinear", inputs, scale, 0, f"{layer}_bias")

    def _scale_of(self, value: relax.Expr) -> np.ndarray | None:
        made = self._bindings.get(self._resolved(value)) if isinstance(value, relax.Var) else None
        return to_numpy(made.args[1]) if op_name(made) == "relax.dequantize" else None


def _short(array: np.ndarray) -> np.ndarray:
    return array.reshape(()) if array.size == 1 else array


def _fits_int4(*arrays: np.ndarray) -> bool:
    return all(array.min(initial=0) >= -8 and array.max(initial=0) <= 7 for array in arrays)


def _value_info(name: str, value: relax.Expr) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype_of(value)))
    return helper.make_tensor_value_info(name, kind, list(shape_of(value)))
