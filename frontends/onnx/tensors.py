"""Tensors of an ONNX file as arrays, and the dtypes of its inputs.

Integers of 4 and 2 bits become integers of 8, which hold the same values: nothing in TVM reads packed ones.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from ...errors import TvmqError

NARROW: dict[str, tuple[int, int]] = {
    "int2": (-2, 1),
    "int4": (-8, 7),
    "uint2": (0, 3),
    "uint4": (0, 15),
}
"""The dtypes of fewer than 8 bits: the least and the greatest value."""


def is_narrow(data_type: int) -> bool:
    """Tell whether ONNX's data type is of integers of fewer than 8 bits."""
    try:
        return onnx.helper.tensor_dtype_to_np_dtype(data_type).name in NARROW
    except (KeyError, ValueError, TypeError):
        return False


def storage_of(dtype: str) -> str:
    """Return the dtype in which values of a dtype lie in arrays: that of 8 bits for those of fewer."""
    if dtype not in NARROW:
        return dtype
    return "uint8" if dtype.startswith("u") else "int8"


def array_of(tensor: onnx.TensorProto) -> np.ndarray:
    """Return the tensor's values, in 8 bits where it has fewer.

    Raises
    ------
    TvmqError : its dims, dtype and data do not fit each other, or it holds no numbers.
    """
    try:
        if any(extent < 0 for extent in tensor.dims):
            raise ValueError("an extent is negative")
        array = numpy_helper.to_array(tensor)
    # The helper raises whatever it meets in a tensor that is not well formed.
    except Exception as error:
        raise TvmqError(
            f"tensor {tensor.name!r} of the model cannot be read: {_reason(tensor, error)}"
        ) from error
    if array.dtype.name in NARROW:
        return array.astype(storage_of(array.dtype.name))
    if array.dtype.kind not in "fiub" and not array.dtype.name.startswith(("bfloat", "float8", "float4")):
        raise TvmqError(
            f"tensor {tensor.name!r} of the model holds {array.dtype} values, and numbers were expected"
        )
    return array


def is_plain(dtype: str | np.dtype) -> bool:
    """Tell whether NumPy itself has the dtype of numbers, so that arrays of it can be fed and handed out."""
    found = np.dtype(dtype)
    return found.isbuiltin == 1 and found.kind in "fiub"


def input_dtype(value: onnx.ValueInfoProto) -> str:
    """Return the dtype in which an input of the graph is fed; raises ``TvmqError`` where there is none."""
    kind = value.type.tensor_type.elem_type
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    except (KeyError, ValueError, TypeError):
        raise TvmqError(f"input {value.name!r} has no known dtype (ONNX data type {kind})") from None
    if dtype.name in NARROW:
        return storage_of(dtype.name)
    if not is_plain(dtype.name):
        raise TvmqError(
            f"input {value.name!r} holds {dtype.name} values; float, integer and bool ones can be fed"
        )
    return str(dtype.name)


def _reason(tensor: onnx.TensorProto, error: Exception) -> str:
    """Return what does not fit, with the tensor's own numbers."""
    lines = str(error).splitlines()
    return f"{lines[0] if lines else type(error).__name__} (shape {list(tensor.dims)})"
