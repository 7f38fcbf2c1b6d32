"""Arrays that the caller wants results in.

out: None | array | {output name: array}  -->  an array or None for each output, in the model's order
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import TvmqError
from .arrays import as_array, by_name


def bind_outputs(tensors: Sequence[Mapping[str, Any]], out: Any) -> list[np.ndarray | None]:
    """Return for each output the array to write it to, None where there is none.

    Parameters
    ----------
    tensors : the model's outputs, each with ``name``, ``shape`` and ``dtype``.
    out : arrays by name, for some or all; for a model of one output also the array itself. Of exactly the output's
        shape and dtype, in any layout.

    Raises
    ------
    TvmqError : naming the output that is unknown, or whose array cannot take it.
    """
    if out is None:
        return [None] * len(tensors)
    given = by_name("output", tensors, out)
    return [
        _checked(f"out[{tensor['name']!r}]", given[tensor["name"]], tensor)
        if tensor["name"] in given
        else None
        for tensor in tensors
    ]


def _checked(what: str, value: Any, tensor: Mapping[str, Any]) -> np.ndarray:
    """Return the caller's memory as an array that takes this output."""
    array = as_array(value, what)
    again = as_array(value, what)
    if array.ctypes.data != again.ctypes.data:
        raise TvmqError(f"{what} has no memory to write to: {type(value).__name__}; expected an array")
    shape, dtype = tuple(tensor["shape"]), np.dtype(tensor["dtype"])
    if "open" not in tensor and array.shape != shape:  # what is open is known behind the run
        raise TvmqError(f"{what} has shape {list(array.shape)}; expected {list(shape)}")
    if array.dtype != dtype:
        raise TvmqError(f"{what} has dtype {array.dtype}; expected {dtype}")
    if not array.flags.writeable:
        raise TvmqError(f"{what} is read-only")
    return array
