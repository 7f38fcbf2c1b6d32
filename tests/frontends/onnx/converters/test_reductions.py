"""Reductions of narrow floats keep what they add."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from ....onnx_node.path import compile_and_run


@pytest.mark.parametrize(("name", "expected"), [("ReduceL1", 4096), ("ReduceSum", 4096), ("ReduceMax", 1)])
def test_float16(name: str, expected: float) -> None:
    """A sum of ones in float16 would stop at 2048."""
    x = np.ones((4, 1024), np.float16)
    graph = helper.make_graph(
        [helper.make_node(name, ["x"], ["y"], keepdims=0)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ())],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (result,) = compile_and_run(proto, {"x": x})
    assert result.dtype == np.float16 and result == expected
