"""Checking a run's inputs against the model's.

    array | {input name: array}  -->  an array for each input, in the model's order

An array is converted where its kind allows it and every value survives: float64 to float32 (rounded, not
overflowed), int64 to int32 or uint8 to int8 (in range), integers to float. Never a float to an integer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import TvmqError
from .arrays import as_array, by_name
from .dimensions import Dimensions, RunShapes


def bind_inputs(
    tensors: Sequence[Mapping[str, Any]], inputs: Any, dimensions: Dimensions | None = None
) -> list[np.ndarray]:
    """Return one array an input, in the model's order, of its shape and dtype; the caller's memory where that fits.

    Parameters
    ----------
    tensors : the model's inputs, each with ``name``, ``shape`` and ``dtype``.
    inputs : the user's arrays by name, or what ``runtime.arrays`` makes one of; for a model of one input also the
        array itself.
    dimensions : the ranges of open ones.

    Raises
    ------
    TvmqError : naming the input that is unknown, missing, of another shape or dtype, or an index beyond its table.
    """
    given = zip(tensors, all_given(tensors, inputs), strict=True)
    if not dimensions:
        return [bind_input(tensor, value) for tensor, value in given]
    shapes, arrays = RunShapes(dimensions), []
    for tensor, value in given:
        array = as_array(value, f"input {tensor['name']!r}")
        arrays.append(bind_input({**tensor, "shape": shapes.expected(tensor, array.shape)}, array))
    return arrays


def bind_input(tensor: Mapping[str, Any], value: Any) -> np.ndarray:
    """Return the value as an array of one input; errors as ``bind_inputs``."""
    name = tensor["name"]
    array = convert(name, value, tuple(tensor["shape"]), np.dtype(tensor["dtype"]))
    if "range" in tensor and array.size:
        low, high = tensor["range"]
        for found in (int(array.min()), int(array.max())):
            if not low <= found <= high:
                raise TvmqError(
                    f"input {name!r} has the value {found}; expected indices from {low} to {high}"
                )
    return array


def all_given(tensors: Sequence[Mapping[str, Any]], inputs: Any) -> list[Any]:
    """Return what the user gave for each input, in the model's order; parameters and errors as for ``bind_inputs``."""
    given = by_name("input", tensors, inputs)
    missing = [tensor["name"] for tensor in tensors if tensor["name"] not in given]
    if missing:
        raise TvmqError(f"no array for input {', '.join(map(repr, missing))}")
    return [given[tensor["name"]] for tensor in tensors]


def convert(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return the value as an array of this shape and dtype, or raise naming the input."""
    array = as_array(value, f"input {name!r}")
    if array.shape != shape:
        raise TvmqError(f"input {name!r} has shape {list(array.shape)}; expected {list(shape)}")
    if array.dtype == dtype:
        return array
    if array.dtype.kind not in "buif" or not _kind_allows(array.dtype, dtype):
        raise TvmqError(f"input {name!r} has dtype {array.dtype}; expected {dtype}")
    with np.errstate(over="ignore"):
        converted = array.astype(dtype)
    if not _survives(array, converted):
        raise TvmqError(f"input {name!r} has dtype {array.dtype} with values that {dtype} cannot hold")
    return converted


def _kind_allows(source: np.dtype, target: np.dtype) -> bool:
    """Tell whether the conversion stays within bool < integer < float."""
    order = {"b": 0, "u": 1, "i": 1, "f": 2}
    return target.kind in order and order[source.kind] <= order[target.kind]


def _survives(array: np.ndarray, converted: np.ndarray) -> bool:
    """Tell whether integers kept their values and no finite float overflowed."""
    if converted.dtype.kind == "f":
        return bool(np.array_equal(np.isfinite(array), np.isfinite(converted)))
    return bool(np.array_equal(array, converted))
