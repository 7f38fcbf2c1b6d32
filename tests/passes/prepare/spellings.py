"""ONNX graphs of one input that spell out an operator, and what the passes make of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import tvm
from onnx import helper, numpy_helper

import tvmq
from tvmq.passes.prepare.prepare import Prepare

from ..modules import operators


class Speller:
    """Adds nodes: ``b("Add", x, 1.0)`` returns the sum's name. Operands are names, numbers, or arrays."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, op_type: str, *operands: str | float | np.ndarray, **attributes) -> str:
        names = [operand if isinstance(operand, str) else self._constant(operand) for operand in operands]
        self.nodes.append(helper.make_node(op_type, names, [f"v{len(self.nodes)}"], **attributes))
        return f"v{len(self.nodes) - 1}"

    def _constant(self, value: float | np.ndarray) -> str:
        array = np.asarray(value)
        array = array.astype("float32") if array.dtype == np.float64 else array
        self.constants.append(numpy_helper.from_array(array, f"c{len(self.constants)}"))
        return self.constants[-1].name


Spelling = Callable[[Speller, str], str | tuple[str, ...]]


def model(spelling: Spelling, shape: tuple[int, ...] = (2, 3, 8), opset: int = 17) -> onnx.ModelProto:
    """Return the model of ``spelling(speller, "x")``."""
    speller = Speller()
    outputs = spelling(speller, "x")
    outputs = (outputs,) if isinstance(outputs, str) else outputs
    graph = helper.make_graph(
        speller.nodes,
        "spelling",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        speller.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def prepared(spelling: Spelling, **how) -> tvm.IRModule:
    return Prepare()(tvmq.load_onnx(model(spelling, **how)))


def operators_of(spelling: Spelling, **how) -> list[str]:
    """Return the operators that are left, in order."""
    return operators(prepared(spelling, **how))


def compare(spelling: Spelling, x: np.ndarray, exact: np.ndarray, tolerance: float) -> None:
    """Check what the compiled model gives; the tolerance is absolute."""
    (result,) = tvmq.compile(model(spelling, shape=x.shape)).run({"x": x}).values()
    np.testing.assert_allclose(result, exact, atol=tolerance, rtol=0)
