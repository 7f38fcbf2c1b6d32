"""A random graph in the making: each node is evaluated by ONNX's reference as soon as it is added."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

OPSETS = (13, 17, 18, 21, 23)
"""Versions of the standard that graphs are drawn for."""

MAX_RANK = 5

FLOATS = ("float32", "float32", "float32", "float16", "float64")
"""Dtypes to draw from, the usual one more often."""

SIGNED = ("int8", "int16", "int32", "int64")
INTEGERS = (*SIGNED, "uint8", "uint16", "uint32", "uint64")


@dataclass(frozen=True)
class Graph:
    """A finished graph.

    Attributes
    ----------
    seed : what it was drawn from.
    model : the model; each node's results are outputs of it.
    inputs : input name to array.
    expected : output name to what the reference gives.
    operators : output name to the operator that makes it.
    """

    seed: int
    model: onnx.ModelProto
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    operators: dict[str, str]


@dataclass
class Draft:
    """Nodes, and every value's array.

    Attributes
    ----------
    seed : of all choices.
    values : name to array; ``smooth`` has those that may differ in their last bits.
    """

    seed: int
    values: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    computed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.opset = int(self.rng.choice(OPSETS))

    # Choices.

    def one_of(self, *options: Any) -> Any:
        """Return one of the options, whatever they are."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    def integer(self, low: int, high: int) -> int:
        """Return an integer, both bounds included."""
        return int(self.rng.integers(low, high + 1))

    def shape(self, low: int = 0, high: int = MAX_RANK) -> tuple[int, ...]:
        """Return a shape of ``low`` to ``high`` axes with mostly odd extents, and few elements."""
        rank = self.integer(low, high)
        extents = (1, 2, 3, 5, 7, 9, 17, 33) if rank <= 2 else (1, 2, 3, 5, 7)
        return tuple(int(extent) for extent in self.rng.choice(extents, rank))

    def axis(self, rank: int) -> int:
        """Return an axis, at times counted from the end."""
        return self.integer(-rank, rank - 1)

    def axes(self, rank: int, low: int = 1) -> list[int]:
        """Return some different axes in any order."""
        chosen = self.rng.permutation(rank)[: self.integer(low, rank)]
        return [int(axis) - rank * self.chance(0.3) for axis in chosen]

    def broadcast_pair(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return two shapes that broadcast together."""
        whole = self.shape()
        pair = []
        for _ in range(2):
            own = tuple(1 if self.chance(0.25) else extent for extent in whole)
            pair.append(own[self.integer(0, len(own)) :] if self.chance(0.3) else own)
        if self.chance():
            pair[0] = whole
        return pair[0], pair[1]

    # Values.

    def array(
        self, shape: tuple[int, ...], dtype: str = "float32", low: float = -3, high: float = 3
    ) -> np.ndarray:
        """Return random numbers of the range, for integers both bounds included."""
        if dtype == "bool":
            return self.rng.integers(0, 2, shape).astype(bool)
        if np.issubdtype(np.dtype(dtype), np.floating):
            return np.asarray(self.rng.uniform(low, high, shape)).astype(dtype)
        low = max(low, np.iinfo(dtype).min)
        return np.asarray(self.rng.integers(int(low), int(high), shape, endpoint=True)).astype(dtype)

    def input(self, array: np.ndarray) -> str:
        """Add an input of the graph."""
        name = f"i{len(self.values)}"
        self.values[name] = array
        self.inputs.append(name)
        return name

    def constant(self, array: Any, dtype: str = "int64") -> str:
        """Add an initializer."""
        name = f"c{len(self.values)}"
        self.values[name] = np.asarray(array, None if isinstance(array, np.generic | np.ndarray) else dtype)
        self.constants.append(name)
        return name

    def fresh(self, shape: tuple[int, ...], dtype: str = "float32", low: float = -3, high: float = 3) -> str:
        """Return a new value, an input most often."""
        array = self.array(shape, dtype, low, high)
        return self.constant(array) if self.chance(0.15) else self.input(array)

    def fresh_of(self, array: np.ndarray) -> str:
        """Return the array as a new value, an input or a constant."""
        return self.constant(array) if self.chance(0.3) else self.input(array)

    def value(self, low: int = 0, high: int = MAX_RANK, dtype: str = "float32") -> str:
        """Return a float value of that many axes: one that a node has computed, or a new one."""
        known = [
            name
            for name in self.computed
            if str(self.values[name].dtype) == dtype and low <= self.values[name].ndim <= high
            and 0 < self.values[name].size <= 4096
            and np.isfinite(self.values[name]).all() and np.abs(self.values[name]).max() < 50
        ]  # fmt: skip
        return self.one_of(*known) if known and self.chance(0.4) else self.fresh(self.shape(low, high), dtype)

    def shape_of(self, name: str) -> tuple[int, ...]:
        return self.values[name].shape

    def rank(self, name: str) -> int:
        return self.values[name].ndim

    # Nodes.

    def node(
        self,
        op_type: str,
        *inputs: str,
        outputs: int | tuple[bool, ...] = 1,
        domain: str = "",
        expected: list[np.ndarray] | None = None,
        **attributes: Any,
    ) -> str:
        """Add a node and return its first output.

        Parameters
        ----------
        outputs : how many, or which of them the node names.
        expected : its results, where ONNX's evaluator does not know them.
        """
        wanted = (True,) * outputs if isinstance(outputs, int) else outputs
        names = [f"v{len(self.values)}_{at}" if is_wanted else "" for at, is_wanted in enumerate(wanted)]
        attributes = {name: value for name, value in attributes.items() if value is not None}
        node = helper.make_node(op_type, list(inputs), names, domain=domain, **attributes)
        if expected is None:
            expected = self._evaluate(node)
        results = dict(zip(names, map(np.asarray, expected), strict=False))
        self.values.update({name: array for name, array in results.items() if name})
        self.computed.update({name: op_type for name in results if name})
        self.nodes.append(node)
        return names[0]

    def _evaluate(self, node: onnx.NodeProto) -> list[np.ndarray]:
        feeds = {name: self.values[name] for name in node.input if name}
        graph = helper.make_graph(
            [node],
            node.op_type,
            [_declared(name, array) for name, array in feeds.items()],
            [onnx.ValueInfoProto(name=name) for name in node.output if name],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)
        # Bodies that depend on dtypes are evaluated only where those are known.
        model = onnx.shape_inference.infer_shapes(model)
        with np.errstate(all="ignore"):
            results = iter(ReferenceEvaluator(model).run(None, feeds))
        return [next(results) if name else np.empty(0) for name in node.output]

    def finish(self) -> Graph:
        """Return the graph, each node's results among its outputs."""

        graph = helper.make_graph(
            self.nodes,
            f"seed_{self.seed}",
            [_declared(name, self.values[name]) for name in self.inputs],
            [_declared(name, self.values[name]) for name in self.computed],
            [numpy_helper.from_array(self.values[name], name) for name in self.constants],
        )
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return Graph(
            self.seed,
            helper.make_model(graph, opset_imports=imports, ir_version=10),
            {name: self.values[name] for name in self.inputs},
            {name: self.values[name] for name in self.computed},
            dict(self.computed),
        )


def _declared(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
