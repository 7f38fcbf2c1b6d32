"""TVM's ONNX importer, with our converters, one-line errors, and each node's name on the calls it became.

TVM keeps a node's result as an expression that nobody has bound yet. Here each is bound when its node is
done, so that whatever was bound since the node before belongs to this one.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

from ...errors import TvmqError
from ...passes.hub.graph import (
    OUTPUTS,
    constant,
    dtype_of,
    is_constant,
    main_function,
)
from ...passes.hub.layers import Layer, with_layers
from ..spans import with_spans
from ..tflite import DOMAIN as TFLITE
from .bodies import expanded, has_body
from .constants import Constants
from .control_flow import CONTROL_FLOW
from .converters.table import CONVERTERS, can_convert
from .cut_points import REFUSED, undecided, where_to_cut
from .explain import reason, refuse_wrong_inputs
from .folding import Folding
from .graph import Graph, real_inputs, unique_node_names
from .inline import Inlined
from .limits import check_count, check_size, values_of
from .scales import refuse_bad_scales
from .tensors import NARROW, array_of, input_dtype, is_narrow, is_plain

MOVES = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators whose result has the dtype of their first input, as exporters put them between weights and scales."""


class Importer(ONNXGraphImporter):
    """One import of one graph.

    Parameters
    ----------
    graph : what is imported.
    shapes : the static shape of each graph input.
    opset : version of the standard operator set.
    stored : bytes of the constants that the file has.
    """

    def __init__(self, graph: Graph, shapes: dict[str, tuple[int, ...]], opset: int, stored: int):
        super().__init__({name: list(shape) for name, shape in shapes.items()}, None, sanitize=False)
        self.opset = opset
        self._graph = graph
        self._node_of: dict[relax.Var, str] = {}
        self._narrow: dict[str, int] = {}
        self._names: set[str] = set()
        self._layers: list[Layer] = []
        self._folding = Folding()
        self._constants = Constants(stored)
        self._count = 0

    def import_graph(self) -> tvm.IRModule:
        """Return the module; its calls carry the nodes' names and it has a layer record of each node.

        Raises
        ------
        TvmqError : operators that cannot be imported, or a node whose conversion failed.
        """
        self._add_values(len(self._graph.input) + len(self._graph.output) + values_of(self._graph.node))
        _refuse_unknown_operators(self._graph.node)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # TVM warns and prints where it also raises
            mod = with_spans(self._main(), self._node_of)
        return relax.transform.DeadCodeElimination()(with_layers(mod, self._layers))

    def _main(self) -> tvm.IRModule:
        for tensor in self._graph.initializer:
            self._define(tensor)
        params = [self._param(value) for value in real_inputs(self._graph)]
        attrs = {OUTPUTS: json.dumps(list(self._graph.output))}
        with main_function(self.bb, params, attrs):
            with self.bb.dataflow():
                self._convert(self._graph.node)
                outputs = [self._output(name) for name in self._graph.output]
                result = self.bb.emit_output(outputs[0] if len(outputs) == 1 else relax.Tuple(outputs))
            self.bb.emit_func_output(result)
        return self.bb.get()

    def _add_values(self, count: int) -> None:
        self._count += count
        check_count(self._count)

    def _define(self, tensor: onnx.TensorProto) -> None:
        if tensor.name in self._nodes:
            raise TvmqError(f"the model has two tensors of the name {tensor.name!r}")
        self._nodes[tensor.name] = constant(array_of(tensor))
        if is_narrow(tensor.data_type):
            self._narrow[tensor.name] = tensor.data_type

    def _parse_attr(self, attr_proto: Iterable[onnx.AttributeProto]) -> dict[str, Any]:
        """Return the attributes by name; TVM knows no sparse ones, and takes an empty list for an error."""
        attributes = {}
        for attribute in attr_proto:
            value = onnx.helper.get_attribute_value(attribute)
            attributes[attribute.name] = tuple(value) if isinstance(value, list) else value
        return attributes

    def _param(self, value: onnx.ValueInfoProto) -> relax.Var:
        shape, dtype = self._shape[value.name], input_dtype(value)
        if is_narrow(value.type.tensor_type.elem_type):
            self._narrow[value.name] = value.type.tensor_type.elem_type
        check_size(shape, dtype, f"input {value.name!r}")
        param = self._nodes[value.name] = self._new_var(value.name, shape=shape, dtype=dtype)
        return param

    def _output(self, name: str) -> relax.Expr:
        value = self._nodes.get(name)
        if value is None:
            raise TvmqError(f"the model's output {name!r} is given by no node, input or initializer")
        if not isinstance(value.ty, relax.TensorType):
            raise TvmqError(f"the model's output {name!r} is no tensor")
        if not is_plain(dtype_of(value)):
            raise TvmqError(f"the model's output {name!r} holds {dtype_of(value)} values, which no array has")
        return value

    def _convert(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """Convert nodes in order, those of a subgraph too."""
        for name, node in zip(unique_node_names(nodes, self._names), nodes, strict=True):
            self._check_names(name, node)
            what = described(name, node)
            uncounted = self._constants.before(node, self._nodes, self.opset, what)
            try:
                self._convert_node(name, node)
            except TvmqError:
                raise  # of a node inside, which it names
            # TVM's converters raise whatever they meet: asserts, ValueError, TVMError, AttributeError, ...
            except Exception as error:
                why = reason(node, self._nodes, self.opset, error) + self._inputs_of(node)
                raise TvmqError(f"{what} cannot be imported: {why}") from error
            self._bind_outputs(name, node)
            self._constants.after(node, self._nodes, uncounted, what)
            if node.op_type != "Constant":
                self._layers.append(Layer(name, node.op_type))

    def _check_names(self, name: str, node: onnx.NodeProto) -> None:
        for value in node.input:
            if value and value not in self._nodes:
                raise TvmqError(
                    f"{described(name, node)} reads {value!r}, which no input, initializer "
                    "or earlier node gives"
                )
        for value in node.output:
            if value and value in self._nodes:
                raise TvmqError(f"{described(name, node)} gives {value!r}, which the model has already")

    def _convert_node(self, name: str, node: onnx.NodeProto) -> None:
        if node.op_type in CONTROL_FLOW and node.domain in ("", "ai.onnx"):
            CONTROL_FLOW[node.op_type](self, name, node)
            return
        refuse_wrong_inputs(node, self._nodes, self.opset)
        refuse_bad_scales(node, self._nodes)
        node = self._narrowed(node)
        constants = self._folding.folded(node, self._nodes, self.opset)
        self._nodes.update(constants)
        if constants:
            return
        if has_body(node.domain, node.op_type):
            self._convert_body(name, node)
        elif node.op_type in REFUSED:
            raise self._data_dependent(name, node)
        else:
            super()._construct_nodes(SimpleNamespace(node=[node]))

    def _convert_body(self, name: str, node: onnx.NodeProto) -> None:
        """Convert the nodes of an operator's body as what the model calls ``name``."""
        inputs = [self._nodes[value] if value else None for value in node.input]
        opset: int = self.opset
        body, self.opset = expanded(node, inputs, opset)
        for inner in body:
            if not can_convert(inner.domain, inner.op_type):
                raise ValueError(f"it contains {inner.op_type}, which is not supported")
            self._convert_node(name, inner)
            self._bind_outputs(name, inner)
        self.opset = opset

    def _narrowed(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Note which results have fewer than 8 bits in the file; return the node, with its output's dtype if it has.

        Here they lie in 8 bits, so what a zero point of 4 says to a ``QuantizeLinear`` would be lost.
        """
        types = [attribute.t.data_type for attribute in node.attribute if attribute.name == "value"]
        asked = [attribute.i for attribute in node.attribute if attribute.name == "output_dtype"]
        if node.op_type == "QuantizeLinear" and not any(asked):
            asked = [self._narrow[name] for name in node.input[2:3] if name in self._narrow]
            if asked:
                quantize = onnx.NodeProto()
                quantize.CopyFrom(node)
                quantize.attribute.append(onnx.helper.make_attribute("output_dtype", asked[0]))
                node = quantize
        elif node.op_type in MOVES:
            asked = [self._narrow[name] for name in node.input[:1] if name in self._narrow]
        for data_type in (*types, *asked):
            if is_narrow(data_type):
                self._narrow.update(dict.fromkeys(node.output, data_type))
        return node

    def _bind_outputs(self, name: str, node: onnx.NodeProto) -> None:
        for output in node.output:
            value = self._nodes.get(output)
            if isinstance(value, relax.Call | relax.TupleGetItem):
                value = self._nodes[output] = self.bb.emit(value)
            if isinstance(value, relax.Var):
                # A node that passes its input through must not take over its name.
                self._node_of.setdefault(value, name)
            if isinstance(value, relax.Expr):
                self._check_value(name, node, value)

    def _check_value(self, name: str, node: onnx.NodeProto, value: relax.Expr) -> None:
        """Raise ``TvmqError`` for a result whose shape only the data decide, or that no memory holds."""
        if not is_static(value.ty):
            raise self._data_dependent(name, node)
        if isinstance(value.ty, relax.TensorType):
            if dtype_of(value) in NARROW:
                raise TvmqError(
                    f"{described(name, node)} gives {dtype_of(value)} values; integers of fewer than 8 "
                    "bits are supported as constant weights alone"
                )
            what = f"{described(name, node)}: its result"
            check_size([int(extent) for extent in value.ty.shape], dtype_of(value), what)

    def _data_dependent(self, name: str, node: onnx.NodeProto) -> TvmqError:
        return TvmqError(
            f"{described(name, node)} gives a result whose shape depends on its data; shapes must be "
            f"static{where_to_cut(self._graph, node)}"
        )

    def _inputs_of(self, node: onnx.NodeProto) -> str:
        """Return what the node reads, as the end of a message."""
        shown = [
            f"{name!r} {described}" for name in node.input if name and (described := self._described(name))
        ]
        return f"; its inputs are {', '.join(shown)}" if shown else ""

    def _described(self, name: str) -> str:
        value = self._nodes.get(name)
        if (
            not isinstance(value, relax.Expr)
            or not isinstance(value.ty, relax.TensorType)
            or not is_static(value.ty)
        ):
            return ""
        return f"{dtype_of(value)}[{','.join(str(int(extent)) for extent in value.ty.shape)}]"

    def _convert_operator(self, op_name: str, inputs, attrs, opset: int) -> relax.Expr:
        convert = CONVERTERS[op_name].get_converter(opset)
        value = convert(self.bb, inputs, attrs, [self._nodes, self._params])
        return self.bb.normalize(value) if isinstance(value, relax.Expr) else value

    # What control flow asks for; see ``onnx_control_flow.Scope``.

    def run(self, body: Inlined) -> None:
        self._add_values(values_of(body.nodes))
        _refuse_unknown_operators(body.nodes)
        for tensor in body.initializers:
            self._define(tensor)
            self._constants.add(tensor.name, self._nodes[tensor.name])
        self._convert(body.nodes)

    def known(self, name: str) -> np.ndarray | None:
        value = self._nodes[name]
        return value.value.numpy() if is_constant(value) else None

    def value(self, name: str) -> relax.Expr:
        return self._nodes[name]

    def give(self, name: str, value: relax.Expr) -> None:
        self._nodes[name] = self.bb.normalize(value)

    def undecided(self, name: str) -> str:
        return undecided(self._graph, name)


def described(name: str, node: onnx.NodeProto) -> str:
    """Return a node as messages name it."""
    kind = "TFLite operator" if node.domain == TFLITE else "ONNX node"
    return f"{kind} {name!r} ({node.op_type})"


def _refuse_unknown_operators(nodes: Sequence[onnx.NodeProto]) -> None:
    """Raise ``TvmqError`` that names all operators that cannot be imported."""
    missing: dict[str, list[str]] = {}
    for name, node in zip(unique_node_names(nodes), nodes, strict=True):
        standard = node.domain in ("", "ai.onnx")
        if not can_convert(node.domain, node.op_type) and not (standard and node.op_type in CONTROL_FLOW):
            domain = "" if standard else f"{node.domain}."
            missing.setdefault(domain + node.op_type, []).append(name)
    if missing:
        listed = "; ".join(f"{op} (node {', '.join(nodes)})" for op, nodes in sorted(missing.items()))
        raise TvmqError(f"the model has operators that cannot be imported: {listed}")


def is_static(ty: tvm.ir.Type) -> bool:
    """Tell whether every tensor of the type has constant extents."""
    if isinstance(ty, relax.TupleType):
        return all(is_static(field) for field in ty.fields)
    if not isinstance(ty, relax.TensorType):
        return True
    # The shape may be a variable itself, where data decide even the rank.
    return isinstance(ty.shape, relax.ShapeExpr) and all(
        isinstance(extent, tvm.tirx.IntImm) for extent in ty.shape
    )
