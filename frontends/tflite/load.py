"""A TFLite file to a Relax module, by way of the importer of ONNX."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tvm import IRModule

from ...passes.hub.fixed_point import with_fixed_points
from ..onnx.load import load_onnx
from ..onnx.shapes import Given
from .file import read
from .graph import to_graph
from .requantization import fixed_points


def load_tflite(
    path: str | os.PathLike[str],
    input_shapes: Given | None = None,
    bind: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    input_dtypes: Mapping[str, object] | None = None,
    exact: bool = False,
) -> IRModule:
    """Return the Relax module of a TFLite file: as ``load_onnx`` does of an ONNX file, with channels last.

    Parameters
    ----------
    input_shapes, bind, outputs, input_dtypes : as for ``load_onnx``; an operator has the name of its first result, up
        to a semicolon.
    exact : operators on quantized tensors give the integers that TFLite's reference kernels give.

    Raises
    ------
    TvmqError : the file is missing, corrupt or no TFLite model; it has operators that are not known, by name; and as
        for ``load_onnx``.
    """
    model = read(Path(path))
    graph = to_graph(model, input_shapes or {}, exact)
    mod = load_onnx(graph, input_shapes, bind, outputs, input_dtypes)
    if not exact:
        return mod
    return with_fixed_points(mod, fixed_points(model, [node.name for node in graph.graph.node]))
