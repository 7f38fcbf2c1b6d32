"""The shape of each input of an ONNX graph, completed by what the user gives (``frontends.shapes``)."""

from __future__ import annotations

import onnx

from ...errors import TvmqError
from ..shapes import Declared, Given, OpenShapes, complete
from .graph import Graph, real_inputs


def shapes_of_inputs(graph: onnx.GraphProto | Graph, given: Given | None) -> OpenShapes:
    """Return the shape of each input; parameters and errors as for ``complete``, and an input that is no tensor."""
    declared = {}
    for value in real_inputs(graph):
        if not value.type.HasField("tensor_type"):
            raise TvmqError(f"input {value.name!r} is no tensor but a {value.type.WhichOneof('value')}")
        declared[value.name] = declared_shape(value)
    return complete(declared, given)


def declared_shape(value: onnx.ValueInfoProto) -> Declared:
    """Return the shape in the file, a string for each unknown extent; None where even the rank is unknown."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else dim.dim_param or "?"
        for dim in tensor.shape.dim
    )
