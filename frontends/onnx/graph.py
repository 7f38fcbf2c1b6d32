"""An ONNX graph before its import: inputs become constants, it ends at other values, what no output needs goes.

    x, sr -> ... -> head -> NonMaxSuppression -> y    bound(sr=16000), cut(head) -->    x -> ... -> head

A graph is made anew of the file's own nodes and tensors, which are shared and never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ...errors import TvmqError, unknown
from ...passes.hub.layers import free_name
from .sparse import densified


@dataclass(frozen=True)
class Graph:
    """What of a graph is imported; its fields are named as in ``onnx.GraphProto``.

    Attributes
    ----------
    output : names, not the file's records: those of a value inside have none.
    """

    node: Sequence[onnx.NodeProto]
    input: Sequence[onnx.ValueInfoProto]
    initializer: Sequence[onnx.TensorProto]
    output: Sequence[str]


def graph_of(proto: onnx.GraphProto) -> Graph:
    """Return the graph as the file has it, sparse tensors as the dense ones that they stand for.

    Raises
    ------
    TvmqError : a sparse tensor that cannot be read.
    """
    initializers = [*proto.initializer, *densified(proto)]
    return Graph(proto.node, proto.input, initializers, [value.name for value in proto.output])


def real_inputs(graph: onnx.GraphProto | Graph) -> list[onnx.ValueInfoProto]:
    """Return the inputs that the user feeds: old files list their initializers among the inputs too."""
    initializers = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in initializers]


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names of the values that a node reads, with those that its subgraphs take from outside."""
    yield from (name for name in node.input if name)
    for graph in subgraphs(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        for inner in graph.node:
            yield from (name for name in reads(inner) if name not in own)
            own.update(inner.output)
        yield from (value.name for value in graph.output if value.name not in own)


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the bodies and branches of a node."""
    found = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return found + [graph for attribute in node.attribute for graph in attribute.graphs]


def names_of(graph: Graph | onnx.GraphProto) -> Iterator[str]:
    """Yield every name in the graph; protobuf gives ``bytes`` for one that is no UTF-8 text."""
    for value in (*graph.input, *graph.output):
        yield value.name if isinstance(value, onnx.ValueInfoProto) else value
    yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
        for inner in subgraphs(node):
            yield from names_of(inner)


def unique_node_names(nodes: Sequence[onnx.NodeProto], taken: set[str] | None = None) -> list[str]:
    """Return a name for each node: its own, or its first output's where it has none.

    One that was taken before gets ``_2``, ``_3`` and so on behind it; ``taken`` is added to.
    """
    taken = set() if taken is None else taken
    names = []
    for node in nodes:
        base = node.name or next((output for output in node.output if output), node.op_type)
        names.append(free_name(base, taken))
    return names


def bound(graph: Graph, values: Mapping[str, Any]) -> Graph:
    """Return the graph with these inputs replaced by constants.

    Parameters
    ----------
    values : a number, list or array for each input. One number fills the shape that the file has, 1 for each extent
        that it leaves open.

    Raises
    ------
    TvmqError : a name that is no input, or a value that does not fit the input's shape or dtype.
    """
    inputs = {value.name: value for value in real_inputs(graph)}
    for name in values:
        if name not in inputs:
            raise unknown("input", name, inputs)
    constants = [
        numpy_helper.from_array(_fitting(inputs[name], value), name) for name, value in values.items()
    ]
    return replace(
        graph,
        input=[value for value in graph.input if value.name not in values],
        initializer=[*graph.initializer, *constants],
    )


def _fitting(value: onnx.ValueInfoProto, given: Any) -> np.ndarray:
    """Return what is given in the dtype and shape of an input."""
    name, kind = value.name, value.type.tensor_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        array = np.asarray(given)
        with np.errstate(all="ignore"):
            result = array.astype(dtype)
        same = (
            np.allclose(result, array, rtol=1e-2, atol=1e-30)
            if dtype.kind == "f"
            else (result == array).all()
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        raise TvmqError(
            f"input {name!r} cannot be bound to {given!r}: no such tensor can be made of it"
        ) from None
    if not same:
        raise TvmqError(f"input {name!r} cannot be bound to {given!r}: it holds {dtype} values")
    shape = [dim.dim_value or 1 for dim in kind.shape.dim] if kind.HasField("shape") else list(result.shape)
    open_extents = [not dim.dim_value for dim in kind.shape.dim]
    if result.ndim == 0:
        return np.full(shape, result)
    fits = len(shape) == result.ndim and all(
        any_extent or extent == has
        for extent, any_extent, has in zip(
            shape, open_extents or [True] * len(shape), result.shape, strict=True
        )
    )
    if not fits:
        raise TvmqError(
            f"input {name!r} has the shape {shape} and is bound to a value of shape {list(result.shape)}"
        )
    return result


def cut(graph: Graph, outputs: Sequence[str]) -> Graph:
    """Return the graph that ends at these values, without the inputs and nodes that they do not need.

    Parameters
    ----------
    outputs : names of values, or of nodes, which stand for all that the node gives.

    Raises
    ------
    TvmqError : a name that nothing has, or none at all.
    """
    values = {output for node in graph.node for output in node.output if output}
    of_node = {
        name: [output for output in node.output if output]
        for name, node in zip(unique_node_names(graph.node), graph.node, strict=True)
    }
    found: dict[str, None] = {}
    for name in outputs:
        if name not in values and name not in of_node:
            raise unknown("output", name, values | of_node.keys())
        found.update(dict.fromkeys([name] if name in values else of_node[name]))
    if not found:
        raise TvmqError("no output is named, and a model needs one")
    shorter = pruned(replace(graph, output=list(found)))
    needed = {name for node in shorter.node for name in reads(node)}
    return replace(shorter, input=[value for value in shorter.input if value.name in needed])


def pruned(graph: Graph) -> Graph:
    """Return the graph without the nodes and initializers that no output needs."""
    givers = {output: index for index, node in enumerate(graph.node) for output in node.output if output}
    needed: set[int] = set()
    waiting = list(graph.output)
    wanted: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in wanted:
            continue
        wanted.add(name)
        index = givers.get(name)
        if index is not None and index not in needed:
            needed.add(index)
            waiting.extend(reads(graph.node[index]))
    initializers = {tensor.name for tensor in graph.initializer}
    return replace(
        graph,
        node=[node for index, node in enumerate(graph.node) if index in needed],
        # Old files list their initializers among the inputs, and one that goes must not become a real input.
        input=[value for value in graph.input if value.name in wanted or value.name not in initializers],
        initializer=[tensor for tensor in graph.initializer if tensor.name in wanted],
    )


def inputs_of(graph: Graph, value: str) -> list[str]:
    """Return the real inputs that a value is computed from, in the graph's order."""
    needed = {name for node in pruned(replace(graph, output=[value])).node for name in reads(node)}
    return [given.name for given in real_inputs(graph) if given.name in needed or given.name == value]
