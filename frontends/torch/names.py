"""What layers are called: the paths of the user's modules, such as ``features.0.0``.

A module that calls one operator gives it its own path; one that calls several is followed by their names, such as
``layer1.0.add``. Operators outside of any module have the names of their nodes.
"""

from __future__ import annotations

from collections import defaultdict

from torch import fx

from ...passes.hub.layers import Layer, free_name
from .converters.table import NOTHING

PARAMETERS = ("quantize", "dequantize", "choose_qparams")
"""What operators around a layer begin with that do not count as another of its module."""


class Names:
    """The layers of a graph as the user exported it.

    Attributes
    ----------
    layers : a record of each, in order.
    """

    def __init__(self, graph: fx.Graph):
        nodes = [node for node in graph.nodes if node.op == "call_function" and operator_of(node)]
        by_path = defaultdict(set)
        for node in nodes:
            if not _is_parameter(node):
                by_path[_path(node)].add(operator_of(node))
        taken: set[str] = set()
        self.layers: list[Layer] = []
        self._by_node: dict[str, str] = {}
        for node in nodes:
            path, operator = _path(node), operator_of(node)
            if not path:
                base = node.name
            elif len(by_path[path]) == 1 and not _is_parameter(node):
                base = path
            else:
                base = f"{path}.{operator}"
            name = self._by_node[node.name] = free_name(base, taken)
            self.layers.append(Layer(name, operator))

    def of(self, node: fx.Node) -> str:
        """Return the layer that a node of the decomposed graph is a part of."""
        for source in node.meta.get("from_node", ()):
            if source.name in self._by_node:
                return self._by_node[source.name]
        return self._by_node.get(node.name, node.name)


def operator_of(node: fx.Node) -> str:
    """Return what is called, such as ``conv2d``; ``""`` for items of tuples, arithmetic on extents, and checks."""
    packet = None if str(node.target) in NOTHING else getattr(node.target, "overloadpacket", None)
    name = packet.__name__ if packet is not None else ""
    return "" if name.startswith("sym_") else name.strip("_")


def _is_parameter(node: fx.Node) -> bool:
    return operator_of(node).startswith(PARAMETERS)


def _path(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack")
    return next(reversed(stack.values()))[0] if stack else ""
