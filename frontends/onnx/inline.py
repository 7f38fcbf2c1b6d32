"""The nodes of a subgraph as nodes of the graph around it.

    If(cond) { a = Relu(x); b = Neg(a) }   -->   "if/a" = Relu(x); "if/b" = Neg("if/a")

What the subgraph defines gets a prefix of its own; what it takes from outside keeps its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from .graph import subgraphs


@dataclass(frozen=True)
class Inlined:
    """A subgraph whose values have the names that they get outside.

    Attributes
    ----------
    outputs : the names of its outputs, which may be values from outside.
    """

    nodes: list[onnx.NodeProto]
    initializers: list[onnx.TensorProto]
    outputs: list[str]


def inline(graph: onnx.GraphProto, prefix: str, given: Mapping[str, str] | None = None) -> Inlined:
    """Return the subgraph with its own values renamed.

    Parameters
    ----------
    prefix : stands before the name of each value that the subgraph defines.
    given : for each of its inputs the value outside that it is.
    """
    own = [tensor.name for tensor in graph.initializer]
    own += [output for node in graph.node for output in node.output if output]
    names = {name: prefix + name for name in own} | dict(given or {})
    return Inlined(
        [_renamed(node, names) for node in graph.node],
        [_renamed_tensor(tensor, names) for tensor in graph.initializer],
        [names.get(value.name, value.name) for value in graph.output],
    )


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    for graph in subgraphs(copy):
        _rename_outer_values(graph, names)
    return copy


def _renamed_tensor(tensor: onnx.TensorProto, names: Mapping[str, str]) -> onnx.TensorProto:
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    copy.name = names[tensor.name]
    return copy


def _rename_outer_values(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename, in place, what a nested subgraph takes from outside; its own names stay and win."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own.update(output for node in graph.node for output in node.output)
    outer = {name: new for name, new in names.items() if name not in own}
    for node in graph.node:
        node.input[:] = [outer.get(name, name) for name in node.input]
        for inner in subgraphs(node):
            _rename_outer_values(inner, outer)
    for value in graph.output:
        value.name = outer.get(value.name, value.name)
