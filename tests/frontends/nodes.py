"""A model of one node, compiled and run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..onnx_node.path import compile_and_run


def one_node(
    op_type: str,
    *inputs: np.ndarray | None,
    constants: Sequence[int] = (),
    outputs: int = 1,
    domain: str = "",
    opset: int = 17,
    **attributes,
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Return the model of a node, and what it is fed.

    Parameters
    ----------
    inputs : in order; None for one that is left out.
    constants : positions of those that are initializers.
    """
    arrays = {f"x{at}": np.asarray(array) for at, array in enumerate(inputs) if array is not None}
    names = [f"x{at}" if array is not None else "" for at, array in enumerate(inputs)]
    fed = {name: array for name, array in arrays.items() if int(name[1:]) not in constants}
    node = helper.make_node(
        op_type, names, [f"y{at}" for at in range(outputs)], name="node", domain=domain, **attributes
    )
    graph = helper.make_graph(
        [node],
        op_type,
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in fed.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in node.output],
        [numpy_helper.from_array(array, name) for name, array in arrays.items() if name not in fed],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10), fed


def run_node(op_type: str, *inputs: np.ndarray | None, **how) -> list[np.ndarray]:
    """Return the outputs of a node; parameters as for ``one_node``."""
    return compile_and_run(*one_node(op_type, *inputs, **how))


def floats(*shape: int, seed: int = 0, low: float = -1, high: float = 1) -> np.ndarray:
    """Return random float32 numbers of the range."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype("float32")
