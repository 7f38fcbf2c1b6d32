"""The inputs of ``tvmc run``: read from a file, and filled where the file has none."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TvmqError, unknown

if TYPE_CHECKING:
    import numpy as np

FILL_MODES = ("zeros", "ones", "random")

_SEED = 0  # so that two runs see the same numbers
_RANDOM_INTEGERS = 128  # random integers are below: valid for every integer dtype


def make_inputs(
    tensors: Sequence[Mapping[str, Any]],
    path: Path | None,
    fill_mode: str | None,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, np.ndarray]:
    """Return an array for each input.

    Parameters
    ----------
    tensors : the package's inputs, each with ``name``, ``shape`` and ``dtype``.
    path : an ``.npz`` with arrays by input name, or None.
    fill_mode : one of ``FILL_MODES``, for inputs that the file lacks; None fills at random where there is no
        file, and nothing where there is one.
    sizes : as for ``fill_inputs``.

    Raises
    ------
    TvmqError : the file is missing or no ``.npz``; it has an array that is no input, or lacks an input.
    """
    if path is None:
        return fill_inputs(tensors, {}, fill_mode or "random", sizes=sizes)
    return fill_inputs(tensors, _read_npz(path, tensors), fill_mode, str(path), sizes)


def check_sizes(sizes: Mapping[str, int], dimensions: Mapping[str, Sequence[int]]) -> None:
    """Raise ``TvmqError`` for a size of what is no open dimension, or out of its range."""
    for name, size in sizes.items():
        if not dimensions:
            raise TvmqError(f"--sizes has no effect: the package has no open dimension {name!r}, nor another")
        if name not in dimensions:
            raise unknown("open dimension", name, dimensions)
        low, high = dimensions[name]
        if not low <= size <= high:
            raise TvmqError(f"--sizes {name}={size}: this package takes {low} to {high}")


def _sizes_of(tensors: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes that arrays give open dimensions."""
    import numpy as np

    return {
        name: np.shape(given[tensor["name"]])[int(axis)]
        for tensor in tensors
        for axis, name in tensor.get("open", {}).items()
        if tensor["name"] in given and int(axis) < np.ndim(given[tensor["name"]])
    }


def _sized(tensor: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return the record of an input with these sizes, and the greatest for others."""
    shape = list(tensor["shape"])
    for axis, name in tensor.get("open", {}).items():
        shape[int(axis)] = sizes.get(name, shape[int(axis)])
    return {**tensor, "shape": shape}


def fill_inputs(
    tensors: Sequence[Mapping[str, Any]],
    given: Mapping[str, Any],
    fill_mode: str | None,
    source: str = "inputs",
    sizes: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return an array for each input: the given one, or one that is filled.

    Parameters
    ----------
    fill_mode : one of ``FILL_MODES``; None where nothing is to be filled.
    source : where the given arrays are, for messages.
    sizes : of open dimensions, for inputs that are filled; else those of the given arrays count, or the greatest.

    Raises
    ------
    TvmqError : an array is no input, or an input is missing; there is no such fill mode.
    """
    if fill_mode is not None and fill_mode not in FILL_MODES:
        raise unknown("fill mode", fill_mode, FILL_MODES)
    names = [tensor["name"] for tensor in tensors]
    for name in given:
        if name not in names:
            raise unknown(f"input in {source}", name, names)
    for name in names:
        if fill_mode is None and name not in given:
            raise TvmqError(f"{source} lacks the input {name!r}; --fill-mode makes one")
    known = {**_sizes_of(tensors, given), **(sizes or {})}
    return {
        tensor["name"]: given[tensor["name"]]
        if tensor["name"] in given
        else _filled(_sized(tensor, known), fill_mode)
        for tensor in tensors
    }


def _read_npz(path: Path, tensors: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return the arrays of a file; one that is larger than its input, or is none, has its header read and no more."""
    import numpy as np

    from ..frontends.samples.npy_stream import read_header

    shapes = {tensor["name"]: tensor["shape"] for tensor in tensors}
    arrays = {}
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise TvmqError(f"inputs {str(path)!r} must be an .npz with an array for each input")
        with archive:
            for name in archive.files:
                if name not in shapes:
                    raise unknown(f"input in {path}", name, shapes)
                member = name if name in archive.zip.namelist() else f"{name}.npy"
                with archive.zip.open(member) as stream:
                    header = read_header(stream, f"{path}: array {name!r}")
                if math.prod(header.shape) > math.prod(shapes[name]):
                    raise TvmqError(
                        f"{path}: array {name!r} has the shape {list(header.shape)}; the model takes {shapes[name]}"
                    )
                arrays[name] = archive[name]
            return arrays
    except FileNotFoundError as error:
        raise TvmqError(f"inputs {str(path)!r} do not exist") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise TvmqError(f"inputs {str(path)!r} cannot be read: {error}") from error


def _filled(tensor: Mapping[str, Any], mode: str) -> np.ndarray:
    """Return zeros, ones or random numbers of the input's shape and dtype: in [0, 1) where it is float."""
    import numpy as np

    shape, dtype = tuple(tensor["shape"]), np.dtype(tensor["dtype"])
    if mode != "random":
        return np.full(shape, 0 if mode == "zeros" else 1, dtype)
    generator = np.random.default_rng(_SEED)
    if dtype.kind == "f":
        return generator.random(shape).astype(dtype)
    return generator.integers(2 if dtype.kind == "b" else _RANDOM_INTEGERS, size=shape).astype(dtype)
