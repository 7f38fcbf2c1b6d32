"""How large a model becomes when the calls of its own functions are replaced by their nodes.

    F0 = Relu;  F1 = F0 F0;  F2 = F1 F1;  ...  -->  F30 has 2^30 nodes

It is counted before a node is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

import onnx

from ...errors import TvmqError
from .graph import subgraphs
from .limits import LARGEST_FILE, check_count

Name = tuple[str, str, str]
"""Domain, name and overload of a function."""


@dataclass
class _Body:
    """What a function or graph holds by itself: ``calls`` has how often it calls each function."""

    values: int = 0
    size: int = 0
    calls: Counter[Name] = field(default_factory=Counter)


def check_growth(proto: onnx.ModelProto) -> None:
    """Raise ``TvmqError`` for functions that call themselves, or make the model too large.

    Parameters
    ----------
    proto : a model with functions of its own.
    """
    own = {_name(function): function for function in proto.functions}
    bodies = {name: _body(function.node, own) for name, function in own.items()}
    main = _body(proto.graph.node, own)
    try:
        order = list(TopologicalSorter({name: body.calls for name, body in bodies.items()}).static_order())
    except CycleError as error:
        names = " -> ".join(repr(name) for _, name, _ in error.args[1])
        raise TvmqError(f"the model's functions call each other in a circle: {names}") from None
    totals: dict[Name, tuple[int, int]] = {}
    for name in order:
        totals[name] = _total(bodies[name], totals)
    values, size = _total(main, totals)
    check_count(values)
    if size > LARGEST_FILE:
        raise TvmqError(f"the model's functions come to {size / 2**30:.1f} GiB of nodes; that is too large")


def _name(thing: onnx.FunctionProto | onnx.NodeProto) -> Name:
    called = thing.op_type if isinstance(thing, onnx.NodeProto) else thing.name
    return thing.domain, called, getattr(thing, "overload", "")


def _body(nodes: Sequence[onnx.NodeProto], functions: dict[Name, onnx.FunctionProto]) -> _Body:
    body = _Body(size=sum(node.ByteSize() for node in nodes))
    waiting = list(nodes)
    for node in waiting:  # grows while it is walked: the nodes of subgraphs too
        body.values += max(1, len(node.output))
        if _name(node) in functions:
            body.calls[_name(node)] += 1
        for graph in subgraphs(node):
            waiting.extend(graph.node)
    return body


def _total(body: _Body, totals: dict[Name, tuple[int, int]]) -> tuple[int, int]:
    """Return values and bytes with those of the functions that it calls."""
    values, size = body.values, body.size
    for name, count in body.calls.items():
        values, size = values + count * totals[name][0], size + count * totals[name][1]
    return values, size
