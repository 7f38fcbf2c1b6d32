"""TVM's ONNX importer, with our converters, one-line errors, and each node's name on the calls it became.

TVM keeps a node's result as an expression that nobody has bound yet. Here each is bound when its node is
done, so that whatever was bound since the node before belongs to this one.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

from ..errors import TvmqError
from ..passes.graph import bindings_of, rebuild, with_layer_name
from ..passes.layers import Layer, with_layers
from .onnx_bodies import expanded, has_body
from .onnx_converters import CONVERTERS, can_convert
from .onnx_folding import DATA_DEPENDENT, folded
from .onnx_sparse import densified

OUTPUTS_ATTRIBUTE = "tvmq.outputs"
"""Attribute of ``main``: the names of the graph's outputs, a JSON list."""


def unique_node_names(graph: onnx.GraphProto) -> list[str]:
    """Return a name for each node: its own, or its first output's where it has none.

    One that was taken before gets ``_2``, ``_3`` and so on behind it.
    """
    taken: set[str] = set()
    names = []
    for node in graph.node:
        base = node.name or next((output for output in node.output if output), node.op_type)
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        names.append(name)
    return names


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


class Importer(ONNXGraphImporter):
    """One import of one graph.

    Parameters
    ----------
    shapes : the static shape of each graph input.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]]):
        super().__init__({name: list(shape) for name, shape in shapes.items()}, None, sanitize=False)
        self._node_of: dict[relax.Var, str] = {}
        self.opset = 0

    def import_graph(self, graph: onnx.GraphProto, opset: int) -> tvm.IRModule:
        """Return the module; its calls carry the nodes' names and it has a layer record of each node.

        Raises
        ------
        TvmqError : operators that cannot be imported, or a node whose conversion failed.
        """
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # TVM warns and prints where it also raises
            mod = self.from_onnx(graph, opset)
        self._refuse_data_dependent_shapes(mod)
        mod = self._with_spans(mod)
        names = unique_node_names(graph)
        layers = [
            Layer(name, node.op_type)
            for name, node in zip(names, graph.node, strict=True)
            if node.op_type != "Constant"
        ]
        mod["main"] = mod["main"].with_attr(OUTPUTS_ATTRIBUTE, json.dumps([out.name for out in graph.output]))
        return relax.transform.DeadCodeElimination()(with_layers(mod, layers))

    def _refuse_data_dependent_shapes(self, mod: tvm.IRModule) -> None:
        """Raise ``TvmqError`` naming the first node whose result has a shape that only its data decide."""
        bindings = [binding for block in mod["main"].body.blocks for binding in block.bindings]
        if all(isinstance(binding, relax.VarBinding) for binding in bindings):
            return
        for var, name in self._node_of.items():
            if not _is_static(var.ty):
                raise TvmqError(
                    f"ONNX node {name!r} gives a result whose shape depends on its data; shapes must be static"
                )

    def _parse_graph_initializers(self, graph: onnx.GraphProto) -> None:
        super()._parse_graph_initializers(graph)
        super()._parse_graph_initializers(SimpleNamespace(initializer=densified(graph)))

    def _parse_attr(self, attr_proto: Iterable[onnx.AttributeProto]) -> dict[str, Any]:
        """Return the attributes by name; TVM knows no sparse ones, and takes an empty list for an error."""
        attributes = {}
        for attribute in attr_proto:
            value = onnx.helper.get_attribute_value(attribute)
            attributes[attribute.name] = tuple(value) if isinstance(value, list) else value
        return attributes

    def _check_for_unsupported_ops(self, graph: onnx.GraphProto) -> None:
        names = unique_node_names(graph)
        missing: dict[str, list[str]] = {}
        for name, node in zip(names, graph.node, strict=True):
            if not can_convert(node.domain, node.op_type):
                domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
                missing.setdefault(domain + node.op_type, []).append(name)
        if missing:
            listed = "; ".join(f"{op} (node {', '.join(nodes)})" for op, nodes in sorted(missing.items()))
            raise TvmqError(f"the model has operators that cannot be imported: {listed}")

    def _construct_nodes(self, graph: onnx.GraphProto) -> None:
        for name, node in zip(unique_node_names(graph), graph.node, strict=True):
            lost = [value for value in node.input if value and value not in self._nodes]
            if lost:
                raise TvmqError(
                    f"ONNX node {name!r} ({node.op_type}) reads {lost[0]!r}, which no input, initializer "
                    "or earlier node gives"
                )
            try:
                self._construct_node(name, node)
            # TVM's converters raise whatever they meet: asserts, ValueError, TVMError, AttributeError, ...
            except Exception as error:
                raise TvmqError(
                    f"ONNX node {name!r} ({node.op_type}) cannot be imported: {_first_line(error)}"
                ) from error

    def _construct_node(self, name: str, node: onnx.NodeProto) -> None:
        """Convert a node, or the nodes of its body, as what the model calls ``name``."""
        constants = folded(node, self._nodes, self.opset)
        self._nodes.update(constants)
        if not constants and has_body(node.domain, node.op_type):
            self._construct_body(name, node)
        elif not constants and node.op_type in DATA_DEPENDENT:
            raise ValueError("the shape of its result depends on its data, and shapes must be static")
        elif not constants:
            super()._construct_nodes(SimpleNamespace(node=[node]))
        self._bind_outputs(name, node)

    def _construct_body(self, name: str, node: onnx.NodeProto) -> None:
        inputs = [self._nodes[value] if value else None for value in node.input]
        opset: int = self.opset
        body, self.opset = expanded(node, inputs, opset)
        for inner in body:
            if not can_convert(inner.domain, inner.op_type):
                raise ValueError(f"it contains {inner.op_type}, which is not supported")
            self._construct_node(name, inner)
        self.opset = opset

    def _bind_outputs(self, name: str, node: onnx.NodeProto) -> None:
        for output in node.output:
            value = self._nodes.get(output)
            if isinstance(value, relax.Call | relax.TupleGetItem):
                value = self._nodes[output] = self.bb.emit(value)
            if isinstance(value, relax.Var):
                # A node that passes its input through must not take over its name.
                self._node_of.setdefault(value, name)

    def _convert_operator(self, op_name: str, inputs, attrs, opset: int) -> relax.Expr:
        convert = CONVERTERS[op_name].get_converter(opset)
        value = convert(self.bb, inputs, attrs, [self._nodes, self._params])
        return self.bb.normalize(value) if isinstance(value, relax.Expr) else value

    def _with_spans(self, mod: tvm.IRModule) -> tvm.IRModule:
        """Return the module with each call's span set: the node whose result is bound next."""
        names: dict[relax.Var, str] = {}
        waiting: list[relax.Var] = []
        for binding in bindings_of(mod):
            waiting.append(binding.var)
            if binding.var in self._node_of:
                names.update(dict.fromkeys(waiting, self._node_of[binding.var]))
                waiting.clear()

        def name_call(builder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            named = isinstance(value, relax.Call) and var in names
            return with_layer_name(value, names[var]) if named else value

        return rebuild(mod, name_call)


def _is_static(ty: tvm.ir.Type) -> bool:
    """Tell whether every tensor of the type has constant extents."""
    if isinstance(ty, relax.TupleType):
        return all(_is_static(field) for field in ty.fields)
    if not isinstance(ty, relax.TensorType):
        return True
    return ty.shape is not None and all(isinstance(extent, tvm.tirx.IntImm) for extent in ty.shape)
