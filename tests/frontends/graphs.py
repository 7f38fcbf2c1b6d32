"""Small ONNX graphs, and what an imported one computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import tvm
from onnx import TensorProto, helper, numpy_helper

from tvmq.passes.hub.own_code import compiled

node = helper.make_node


def value(name: str, shape: Sequence[int | str] | None = None, dtype: int = TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[str],
    constants: Mapping[str, Any] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """Return a model; a constant is an array or a ready tensor."""
    tensors = [
        array if isinstance(array, TensorProto) else numpy_helper.from_array(np.asarray(array), name)
        for name, array in (constants or {}).items()
    ]
    graph = helper.make_graph(nodes, "graph", inputs, [value(name) for name in outputs], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def body(nodes: Sequence[onnx.NodeProto], inputs: Sequence[Any], outputs: Sequence[str], **constants: Any):
    """Return a subgraph."""
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    return helper.make_graph(nodes, "body", inputs, [value(name) for name in outputs], tensors)


def run(mod: tvm.IRModule, *inputs: np.ndarray) -> list[np.ndarray]:
    """Return the outputs of an imported module."""
    main = compiled(mod)["main"]
    result = main(*(tvm.runtime.tensor(array) for array in inputs))
    return [result.numpy()] if hasattr(result, "numpy") else [item.numpy() for item in result]
