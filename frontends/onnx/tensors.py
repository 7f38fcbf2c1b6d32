"""Tensors of an ONNX file as arrays, and the dtypes of its inputs.

Integers of 4 and 2 bits become integers of 8, which hold the same values: nothing in TVM reads packed ones.
"""

from __future__ import annotations

import math

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


LARGEST_RANK = 32
"""Dimensions: NumPy before version 2 has no more."""


def is_narrow(data_type: int) -> bool:
    """Tell whether ONNX's data type is of integers of fewer than 8 bits."""
    try:
        return onnx.helper.tensor_dtype_to_np_dtype(data_type).name in NARROW
    except (KeyError, ValueError, TypeError):
        return False


def bits_of(data_type: int) -> int:
    """Return the bits of one element as a file stores it; raises ``ValueError`` for what is no number."""
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(data_type))
    except (KeyError, ValueError, TypeError):
        raise ValueError(f"ONNX data type {data_type} is unknown") from None
    if dtype.hasobject:
        raise ValueError("it holds text, and numbers were expected")
    packed = next(
        (bits for bits in (2, 4) if dtype.name.startswith((f"int{bits}", f"uint{bits}", f"float{bits}_"))), 0
    )
    return packed or 8 * dtype.itemsize


def stored_bytes(tensor: onnx.TensorProto) -> int:
    """Return the bytes that the tensor's shape and dtype ask for; raises ``ValueError`` where it holds no numbers."""
    return math.ceil(math.prod(tensor.dims) * bits_of(tensor.data_type) / 8)


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
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            # ONNX's helper would look for it in the folder that the program happens to run in.
            raise ValueError(
                "its data lie in another file, which onnx.load or the model's path would have read"
            )
        if any(extent < 0 for extent in tensor.dims):
            raise ValueError("an extent is negative")
        if len(tensor.dims) > LARGEST_RANK:
            raise ValueError(f"it has {len(tensor.dims)} dimensions")
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
        hint = (
            f': give it, such as --input-dtypes "{value.name}:float32"'
            if kind == onnx.TensorProto.UNDEFINED
            else ""
        )
        raise TvmqError(f"input {value.name!r} has no known dtype (ONNX data type {kind}){hint}") from None
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
    shape = str(list(tensor.dims)[:LARGEST_RANK]).removesuffix("]") + (
        "]" if len(tensor.dims) <= LARGEST_RANK else ", ...]"
    )
    return f"{lines[0] if lines else type(error).__name__} (shape {shape})"
