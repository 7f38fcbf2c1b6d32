"""The dtype of each input of an ONNX graph: what the file says, completed by what the user gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx

from ...errors import TvmqError, unknown
from .graph import Graph, real_inputs

DTYPES: dict[str, int] = {
    name: getattr(onnx.TensorProto, onnx_name)
    for name, onnx_name in {
        **{
            name: name.upper()
            for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
        },
        **{name: name.upper() for name in ("bool", "float16", "int4", "uint4", "int2", "uint2")},
        "float32": "FLOAT",
        "float64": "DOUBLE",
    }.items()
    if hasattr(onnx.TensorProto, onnx_name)  # the integers of 2 bits are as new as onnx 1.20
}
"""NumPy's names, and ONNX's numbers."""


def typed(graph: Graph, given: Mapping[str, object]) -> Graph:
    """Return the graph with the dtypes of inputs that the file leaves open.

    Parameters
    ----------
    given : a dtype, or its NumPy name, of each input by name; it need not name inputs whose dtype the file has.

    Raises
    ------
    TvmqError : a name that is no input's, no dtype of an input, or another than the file's.
    """
    inputs = {value.name: value for value in real_inputs(graph)}
    for name, dtype in given.items():
        if name not in inputs:
            raise unknown("input", name, inputs)
        _check(inputs[name], _name(dtype))
    return replace(
        graph,
        input=[
            _with_dtype(value, _name(given[value.name])) if value.name in given else value
            for value in graph.input
        ],
    )


def _name(dtype: object) -> str:
    """Return NumPy's name of what stands for a dtype: a name, ``np.float32``, ``np.dtype("float32")``."""
    if isinstance(dtype, str):
        return dtype
    try:
        return str(np.dtype(dtype).name)  # type: ignore[call-overload]
    except TypeError:
        return str(dtype)


def _check(value: onnx.ValueInfoProto, dtype: str) -> None:
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    kind = value.type.WhichOneof("value")
    if kind not in (None, "tensor_type"):
        raise TvmqError(f"input {value.name!r} is no tensor but a {kind}")
    declared = value.type.tensor_type.elem_type
    if declared not in (onnx.TensorProto.UNDEFINED, DTYPES[dtype]):
        fixed = next(
            (name for name, number in DTYPES.items() if number == declared), f"ONNX data type {declared}"
        )
        raise TvmqError(f"input {value.name!r} is given the dtype {dtype}; the model fixes {fixed}")


def _with_dtype(value: onnx.ValueInfoProto, dtype: str) -> onnx.ValueInfoProto:
    changed = onnx.ValueInfoProto()
    changed.CopyFrom(value)
    changed.type.tensor_type.elem_type = DTYPES[dtype]
    return changed
