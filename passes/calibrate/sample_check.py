"""Calibration samples against the model's inputs, and the one rule by which their dtypes are converted:

    floats --> the input's float type, integers --> its integer type, where every value survives

Integers never become floats: quantized images given for normalized ones would go unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...errors import TvmqError, unknown
from ...ranges import Range, fits, shown

Sample = Mapping[str, np.ndarray]
"""The arrays of a model's inputs by name."""

Spec = tuple[tuple[int | Range, ...], str]
"""Shape and dtype of an input; an open dimension has a range."""


KINDS = {"f": "f", "i": "iu", "u": "iu", "b": "b"}
"""Kind of an input's dtype -> the kinds of arrays that it takes."""


def is_convertible(given: np.dtype, dtype: str) -> bool:
    """Tell whether an array of that dtype may be given for an input of dtype ``dtype``."""
    return given.kind in KINDS.get(np.dtype(dtype).kind, "")


def converted(array: np.ndarray, dtype: str, source: str) -> np.ndarray:
    """Return the array in the model's dtype.

    Raises
    ------
    TvmqError : a value is NaN or infinite, or an integer does not fit the dtype.
    """
    with np.errstate(over="ignore"):
        result = array.astype(dtype, copy=False)
    bad = ~np.isfinite(result) if result.dtype.kind == "f" else result != array
    if bad.any():
        place = tuple(int(axis) for axis in np.argwhere(bad)[0])
        raise TvmqError(f"{source} has {array[place]} at {list(place)}, expected finite {dtype} values")
    return result


def fitting_sample(sample: Sample, index: int, specs: Mapping[str, Spec]) -> dict[str, np.ndarray]:
    """Return the ``index``-th sample in the dtypes of the inputs; errors as ``check_sample`` and ``converted``."""
    if isinstance(sample, Mapping):
        sample = {name: _fitting(array, index, name, specs) for name, array in sample.items()}
    check_sample(sample, index, specs)
    return dict(sample)


def _fitting(array: np.ndarray, index: int, name: str, specs: Mapping[str, Spec]) -> np.ndarray:
    """Return the array in the input's dtype; as it is where it cannot be converted, which ``check_sample`` reports."""
    if name not in specs or not isinstance(array, np.ndarray):
        return array
    dtype = specs[name][1]
    if str(array.dtype) == dtype or not is_convertible(array.dtype, dtype):
        return array
    return converted(array, dtype, f"calibration sample {index}, input {name!r}:")


def check_sample(sample: Sample, index: int, specs: Mapping[str, Spec]) -> None:
    """Check one sample, the ``index``-th from 0.

    Raises
    ------
    TvmqError : it is no mapping, lacks an input or has one too many, or an array has another shape or dtype
        than the model's input, or holds NaN or infinity. The message names the sample and the input.
    """
    where = f"calibration sample {index}"
    if not isinstance(sample, Mapping):
        raise TvmqError(f"{where} is a {type(sample).__name__}; expected a mapping from input name to array")
    for name in sample:
        if name not in specs:
            raise unknown(f"input in {where}", name, specs)
    sizes: dict[str, int] = {}
    for name, (shape, dtype) in specs.items():
        if name not in sample:
            raise TvmqError(f"{where} has no array for input {name!r}")
        array = sample[name]
        if not isinstance(array, np.ndarray):
            raise TvmqError(f"{where}, input {name!r}: expected an array, got a {type(array).__name__}")
        if not fits(array.shape, shape):
            raise TvmqError(
                f"{where}, input {name!r}: expected shape {shown(shape)}, got {list(array.shape)}"
            )
        if str(array.dtype) != dtype:
            raise TvmqError(f"{where}, input {name!r}: expected dtype {dtype}, got {array.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise TvmqError(f"{where}, input {name!r}: holds NaN or infinity")
        for axis, (size, extent) in enumerate(zip(array.shape, shape, strict=True)):
            if isinstance(extent, Range) and sizes.setdefault(extent.name, size) != size:
                raise TvmqError(
                    f"{where}, input {name!r}: it has {size} in dimension {axis} ({extent.name}), and another input "
                    f"{sizes[extent.name]}"
                )
