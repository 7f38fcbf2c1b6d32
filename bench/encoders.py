"""Sentence encoders as benchmarks take them: of one float32 input, behind the embeddings of their words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..errors import TvmqError

EMBEDDED = "add_6"
"""The sum of MiniLM's embeddings in its file."""
EMBEDDINGS = (32, 384)
"""Tokens, and the width of each."""


def minilm(path: Path) -> onnx.ModelProto:
    """Return MiniLM L6 v2 from the sum of its embeddings, float32 ``[1, 32, 384]``, on; no token is masked.

    Raises
    ------
    TvmqError : there is no such file.
    """
    if not path.is_file():
        raise TvmqError(f"no file {path}")
    tokens, width = EMBEDDINGS
    model = onnx.load(path)
    graph = model.graph
    first = next(place for place, node in enumerate(graph.node) if EMBEDDED in node.output)
    kept = list(graph.node)[first + 1 :]
    del graph.node[:], graph.input[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.input.append(helper.make_tensor_value_info(EMBEDDED, TensorProto.FLOAT, [1, tokens, width]))
    graph.initializer.append(numpy_helper.from_array(np.ones((1, tokens), np.int64), "attention_mask"))
    read = {name for node in kept for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(constants)
    for dim, extent in zip(graph.output[0].type.tensor_type.shape.dim, (1, width), strict=True):
        dim.dim_value = extent
    onnx.checker.check_model(model)
    return model
