"""An ONNX graph in the making: nodes, initializers, and names that no two of them share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper
from tvm import relax

from ..passes.hub.graph import is_constant, to_numpy
from ..passes.hub.layers import free_name

OPSET = 19
"""Version of the operators that a graph asks for, if none of its nodes needs a later one."""


class Graph:
    """Nodes and initializers in order.

    Attributes
    ----------
    opset : version of the standard operator set that the nodes need.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.opset = OPSET
        self._values: dict[relax.Var, list[str]] = {}
        self._taken: set[str] = set()
        self._node_names: set[str] = set()

    def unique(self, name: str) -> str:
        """Return the name, with a number behind it where a tensor has it already."""
        return free_name(name or "value", self._taken)

    def reserve(self, name: str) -> None:
        """Keep a name for what the caller will give it to."""
        self._taken.add(name)

    def needs(self, opset: int) -> None:
        """Note that a node is of this version of the operator set."""
        self.opset = max(self.opset, opset)

    def add(self, op_type: str, inputs: Sequence[str], output: str, *, name: str = "", **attributes) -> str:
        """Add a node; return its output, which is named after ``output``."""
        result = self.unique(output)
        self.several(op_type, inputs, [result], name=name, **attributes)
        return result

    def several(
        self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], *, name: str = "", **attributes
    ) -> None:
        """Add a node with outputs of just these names."""
        node_name = free_name(name or outputs[0], self._node_names)
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=node_name, **attributes))

    def constant(self, value: np.ndarray, name: str) -> str:
        """Add an initializer; return its name."""
        name = self.unique(name)
        self.initializers.append(
            numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        )
        return name

    def bind(self, var: relax.Var, *names: str) -> None:
        """Say by which names a variable, or the items of a tuple, goes."""
        self._values[var] = list(names)

    def names(self, var: relax.Var) -> list[str]:
        """Return the names that ``bind`` gave."""
        return self._values[var]

    def name_of(self, value: relax.Expr, hint: str) -> str:
        """Return the tensor's name; a constant becomes an initializer, which is named after ``hint``."""
        if is_constant(value):
            return self.constant(to_numpy(value), hint)
        if isinstance(value, relax.TupleGetItem):
            return self.names(value.tuple_value)[value.index]
        return self.names(value)[0]
