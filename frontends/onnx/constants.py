"""The constants of one import: which values no input has part in, and how many bytes of them nodes compute.

    c = ConstantOfShape([2, 3]);  d = Tile(c, [1, 4])    -->  24 bytes and 96

They are computed at import or right behind it, so what they take is bounded before the first byte of it is made.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from tvm import relax

from ...passes.hub.graph import is_constant
from .folding import inferred_sizes, size_of
from .limits import Budget

Values = Mapping[str, relax.Expr]


class Constants:
    """What is known so far.

    Parameters
    ----------
    stored : bytes of the constants that the file has.
    """

    def __init__(self, stored: int) -> None:
        self._budget = Budget(stored)
        self._names: set[str] = set()

    def add(self, name: str, value: relax.Expr) -> None:
        """Count a constant of a subgraph, which is made once for each round of a loop."""
        self._budget.take(size_of(value), f"tensor {name!r}")

    def before(self, node: onnx.NodeProto, values: Values, opset: int, what: str) -> bool:
        """Count what a node will give, as far as that follows from what it reads; tell whether there is more to count.

        Raises
        ------
        TvmqError : it is more than there may be.
        """
        if node.op_type == "Constant":
            return _is_sparse(node)
        if not self._is_computed(node, values):
            return False
        sizes = inferred_sizes(node, values, opset)
        if sizes is None:
            return True
        self._budget.take(sum(sizes), what)
        return False

    def after(self, node: onnx.NodeProto, values: Values, uncounted: bool, what: str) -> None:
        """Note what a node has given, and count it where ``before`` could not."""
        size = sum(size_of(values[name]) for name in node.output if name in values)
        if uncounted:
            self._budget.take(size, what)
        elif node.op_type == "Constant":
            self._budget.give(size)
        if self._is_computed(node, values):
            self._names.update(node.output)

    def _is_computed(self, node: onnx.NodeProto, values: Values) -> bool:
        return all(
            name in self._names or is_constant(values[name]) or isinstance(values[name], relax.ShapeExpr)
            for name in node.input
            if name
        )


def _is_sparse(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "sparse_value" for attribute in node.attribute)
