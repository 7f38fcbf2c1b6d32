"""Calibration samples against the model's inputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...errors import TvmqError, unknown

Sample = Mapping[str, np.ndarray]
"""The arrays of a model's inputs by name."""

Spec = tuple[tuple[int, ...], str]
"""Shape and dtype of an input."""


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
    for name, (shape, dtype) in specs.items():
        if name not in sample:
            raise TvmqError(f"{where} has no array for input {name!r}")
        array = sample[name]
        if not isinstance(array, np.ndarray):
            raise TvmqError(f"{where}, input {name!r}: expected an array, got a {type(array).__name__}")
        if array.shape != shape:
            raise TvmqError(f"{where}, input {name!r}: expected shape {list(shape)}, got {list(array.shape)}")
        if str(array.dtype) != dtype:
            raise TvmqError(f"{where}, input {name!r}: expected dtype {dtype}, got {array.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise TvmqError(f"{where}, input {name!r}: holds NaN or infinity")
