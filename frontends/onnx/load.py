"""An ONNX file to a Relax module: one function ``main``, one dataflow block, static shapes but for open dimensions.

The parameters of ``main`` bear the names of the graph's inputs, whatever characters those have; the names of
its outputs are in the function attribute ``tvmq.outputs``; the weights are constants; each call's span is
the name of its ONNX node, and the module has a layer record for each node (``passes.hub.layers``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from tvm import IRModule

from ...errors import TvmqError
from ...passes.hub.unify import over_sizes
from .bodies import opset_of, with_functions_inlined
from .dtypes import typed
from .graph import bound, cut, graph_of, names_of, pruned
from .importer import Importer
from .limits import check_names
from .read import read_model
from .shapes import Given, shapes_of_inputs
from .tensors import stored_bytes

OLDEST_IR_VERSION = 3
NEWEST_OPSET = onnx.defs.onnx_opset_version()


def load_onnx(
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shapes: Given | None = None,
    bind: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    input_dtypes: Mapping[str, object] | None = None,
) -> IRModule:
    """Return the Relax module of an ONNX model.

    Parameters
    ----------
    model : path of the file, or the model itself.
    input_shapes : the shape of each input that the file leaves dynamic, by input name, or the extent of a dimension of
        the file, by its name. An extent may be a range, and stays open (``docs/open-dimensions.md``).
    bind : inputs that become constants, each with a number, list or array.
    outputs : names of values or nodes at which the model ends, in place of the file's outputs.
    input_dtypes : the dtype of each input that the file leaves open, by input name.

    Raises
    ------
    TvmqError : the file is missing, corrupt or no ONNX model; its external data is missing; a shape or dtype is open
        or contradicts the file; an operator cannot be imported; a name in ``bind`` or ``outputs`` is unknown.
    """
    proto = model if isinstance(model, onnx.ModelProto) else read_model(Path(model))
    if not proto.graph.node and not proto.graph.output:
        raise TvmqError(f"{_source(model)} is no ONNX model: it has no graph")
    if not proto.graph.output:
        raise TvmqError(f"{_source(model)} has no outputs")
    if proto.ir_version < OLDEST_IR_VERSION:
        raise TvmqError(
            f"{_source(model)} has ONNX IR version {proto.ir_version}; {OLDEST_IR_VERSION} is the oldest supported"
        )
    opset = opset_of(proto)
    if not 0 < opset <= NEWEST_OPSET:
        raise TvmqError(
            f"{_source(model)} asks for version {opset} of ONNX's operators; 1 to {NEWEST_OPSET} are known"
        )
    graph = graph_of(with_functions_inlined(proto).graph)
    check_names(names_of(graph))
    stored = sum(map(_stored, proto.graph.initializer))
    if input_dtypes:
        graph = typed(graph, input_dtypes)
    if bind:
        graph = bound(graph, bind)
    graph = pruned(graph) if outputs is None else cut(graph, outputs)
    shapes = shapes_of_inputs(graph, input_shapes)

    def imported(sizes: Mapping[str, int]) -> IRModule:
        return Importer(graph, shapes.at(sizes), opset, stored).import_graph()

    if not shapes.ranges:
        return imported({})
    return over_sizes(imported, shapes.ranges)


def _stored(tensor: onnx.TensorProto) -> int:
    """Return the bytes of a tensor; 0 for one that cannot be read, as the import will say."""
    try:
        return max(stored_bytes(tensor), 0)
    except ValueError:
        return 0


def _source(model: str | os.PathLike[str] | onnx.ModelProto) -> str:
    return "the model" if isinstance(model, onnx.ModelProto) else repr(str(model))
