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
from google.protobuf.message import DecodeError
from onnx.external_data_helper import load_external_data_for_model
from tvm import IRModule

from ...errors import TvmqError
from ...passes.hub.tvm_messages import plain
from ...passes.hub.unify import over_sizes
from .bodies import opset_of, with_functions_inlined
from .graph import bound, cut, graph_of, names_of, pruned
from .importer import Importer
from .shapes import Given, shapes_of_inputs

OLDEST_IR_VERSION = 3
NEWEST_OPSET = onnx.defs.onnx_opset_version()


def load_onnx(
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shapes: Given | None = None,
    bind: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
) -> IRModule:
    """Return the Relax module of an ONNX model.

    Parameters
    ----------
    model : path of the file, or the model itself.
    input_shapes : the shape of each input that the file leaves dynamic, by input name, or the extent of a dimension of
        the file, by its name. An extent may be a range, and stays open (``docs/open-dimensions.md``).
    bind : inputs that become constants, each with a number, list or array.
    outputs : names of values or nodes at which the model ends, in place of the file's outputs.

    Raises
    ------
    TvmqError : the file is missing, corrupt or no ONNX model; its external data is missing; a shape is dynamic
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
    if not all(isinstance(name, str) for name in names_of(graph)):
        raise TvmqError(f"{_source(model)} has a name that is no UTF-8 text")
    if bind:
        graph = bound(graph, bind)
    graph = pruned(graph) if outputs is None else cut(graph, outputs)
    shapes = shapes_of_inputs(graph, input_shapes)

    def imported(sizes: Mapping[str, int]) -> IRModule:
        return Importer(graph, shapes.at(sizes), opset).import_graph()

    if not shapes.ranges:
        return imported({})
    return over_sizes(imported, shapes.ranges)


def read_model(path: Path) -> onnx.ModelProto:
    """Return the model in the file, its external data loaded.

    Raises
    ------
    TvmqError : the file is missing, unreadable, corrupt or no ONNX model, or its external data is missing.
    """
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
    except FileNotFoundError:
        raise TvmqError(f"ONNX file {str(path)!r} does not exist") from None
    except OSError as error:
        raise TvmqError(f"ONNX file {str(path)!r} cannot be read: {error.strerror}") from error
    except (DecodeError, ValueError) as error:
        raise TvmqError(f"{str(path)!r} is no ONNX model, or a corrupt one: {error}") from error
    try:
        load_external_data_for_model(proto, str(path.parent))
    # ONNX's own loader, which is C++, raises what it likes for paths that are none.
    except Exception as error:
        raise TvmqError(
            f"external data of ONNX file {str(path)!r} is missing or corrupt: {plain(error)}"
        ) from error
    return proto


def _source(model: str | os.PathLike[str] | onnx.ModelProto) -> str:
    return "the model" if isinstance(model, onnx.ModelProto) else repr(str(model))
