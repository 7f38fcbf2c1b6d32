"""A TFLite file's graph as an ONNX graph: each operator a node of the domain ``tflite``.

    CONV_2D(x, w, b) -> y  -->  tflite.CONV_2D(x, w, b) -> y, with the options, and the quantization of x, w, b, y

The tensors keep their names, dtypes and layouts; quantized ones are their integers. What a node computes is written out
when its turn in the import comes (``body.py``), with the shapes and constants that are known by then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...errors import TvmqError
from ...passes.hub.layers import free_name
from ..onnx.contrib.body import OPSET
from . import DOMAIN
from .body import TENSORS, has_tflite_body
from .file import Model, Operator, Tensor, unique_names


def to_graph(model: Model, input_shapes: Mapping[str, Any], exact: bool) -> onnx.ModelProto:
    """Return the model's graph.

    Parameters
    ----------
    input_shapes : shapes that the user gives; an input named there has the extents open that the file leaves open.
    exact : its operators are to be computed as TFLite's reference kernels do, bit by bit.

    Raises
    ------
    TvmqError : operators that are not known, by name; a tensor that two operators give.
    """
    names = unique_names(model.tensors)
    _refuse_unknown(model, names)
    taken: set[str] = set()
    nodes = [
        _node(operator, free_name(_name_of(operator, names), taken), model.tensors, names, exact)
        for operator in model.operators
    ]
    given = {place for operator in model.operators for place in operator.outputs}
    constants = [
        numpy_helper.from_array(_constant(tensor), names[place])
        for place, tensor in enumerate(model.tensors)
        if place not in given and place not in model.inputs and _is_constant(tensor)
    ]
    inputs = [_input(model.tensors[place], names[place], input_shapes) for place in model.inputs]
    outputs = [onnx.ValueInfoProto(name=names[place]) for place in model.outputs]
    graph = helper.make_graph(nodes, "tflite", inputs, outputs, constants)
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=imports)


def _refuse_unknown(model: Model, names: list[str]) -> None:
    missing: dict[str, list[str]] = {}
    for operator in model.operators:
        if not has_tflite_body(operator.name):
            name = f"custom operator {operator.name}" if operator.is_custom else operator.name
            missing.setdefault(name, []).append(_name_of(operator, names))
    if missing:
        listed = "; ".join(
            f"{op} ({', '.join(sorted(tensors)[:3])})" for op, tensors in sorted(missing.items())
        )
        raise TvmqError(f"the model has operators that cannot be imported: {listed}")


def _name_of(operator: Operator, names: list[str]) -> str:
    """Return an operator's name, which is that of its first result: the file has no other.

    Converters name the result of a fused operator by all that went into it, joined by semicolons; the first will do.
    """
    whole = next((names[place] for place in operator.outputs if place >= 0), operator.name)
    return whole.split(";")[0] or whole


def _node(
    operator: Operator, name: str, tensors: tuple[Tensor, ...], names: list[str], exact: bool
) -> onnx.NodeProto:
    inputs, outputs = (
        [names[place] if place >= 0 else "" for place in places]
        for places in (operator.inputs, operator.outputs)
    )
    described = [
        [_described(tensors[place]) if place >= 0 else None for place in places]
        for places in (operator.inputs, operator.outputs)
    ]
    options = {key: value for key, value in operator.options.items() if value != []}
    attributes = {**options, TENSORS: json.dumps([*described, exact])}
    return helper.make_node(operator.name, inputs, outputs, name=name, domain=DOMAIN, **attributes)


def _described(tensor: Tensor) -> dict[str, Any]:
    quantization = None if tensor.quantization is None else asdict(tensor.quantization)
    return {"dtype": tensor.dtype, "quantization": quantization}


def _is_constant(tensor: Tensor) -> bool:
    return tensor.value is not None or 0 in tensor.shape


def _constant(tensor: Tensor) -> np.ndarray:
    if tensor.value is not None:
        return tensor.value
    return np.zeros(tensor.shape, "int8" if tensor.dtype == "int4" else tensor.dtype)


def _input(tensor: Tensor, name: str, input_shapes: Mapping[str, Any]) -> onnx.ValueInfoProto:
    if tensor.dtype == "int4":
        raise TvmqError(
            f"input {name!r} holds integers of 4 bits, which are supported as constant weights alone"
        )
    if math.prod(tensor.shape) == 0:
        raise TvmqError(f"input {name!r} has the shape {list(tensor.shape)}, which holds nothing")
    open_extents = name in input_shapes
    shape = [
        None if extent < 0 and open_extents else fixed
        for extent, fixed in zip(tensor.signature, tensor.shape, strict=True)
    ]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)), shape)
