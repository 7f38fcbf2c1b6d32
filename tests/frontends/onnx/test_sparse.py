"""Sparse initializers and constants."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tvmq.errors import TvmqError
from tvmq.frontends.onnx.load import load_onnx

from ...onnx_node.path import compile_and_run
from ..nodes import floats

WEIGHT = np.zeros((4, 3), np.float32)
WEIGHT[[0, 1, 3], [0, 2, 1]] = [1, 2, 3]
INDICES = {"flat": np.array([0, 5, 10]), "coordinates": np.array([[0, 0], [1, 2], [3, 1]])}


def _model(indices: np.ndarray, *, as_constant: bool = False) -> onnx.ModelProto:
    values = numpy_helper.from_array(np.float32([1, 2, 3]), "w")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(indices, "at"), [4, 3])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    if as_constant:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], sparse_value=sparse))
    graph = helper.make_graph(
        nodes,
        "sparse",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 3])],
        sparse_initializer=[] if as_constant else [sparse],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("as_constant", [False, True])
@pytest.mark.parametrize("kind", INDICES)
def test_sparse(kind: str, as_constant: bool) -> None:
    x = floats(2, 4)
    (result,) = compile_and_run(_model(INDICES[kind], as_constant=as_constant), {"x": x})
    np.testing.assert_allclose(result, x @ WEIGHT, rtol=1e-6)


def test_indices_that_do_not_fit_are_refused() -> None:
    with pytest.raises(TvmqError, match="a sparse initializer cannot be read: index 99 is out of bounds"):
        load_onnx(_model(np.array([0, 5, 99])))
