"""Calibration samples in ``.npy`` and ``.npz`` files, read one sample at a time.

An input of shape ``[B, ...]`` takes arrays ``[N, ...]``, cut into samples of ``B`` rows, or stacks of whole
samples ``[N, B, ...]``. Names, shapes, dtypes and counts are checked from the headers, before any value is
read.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from ...errors import TvmqError
from ...passes.calibrate.sample_check import converted, is_convertible
from ...ranges import Range, fits, least
from .npy_stream import Header, RowReader, read_header

InputSpecs = Mapping[str, tuple[tuple[int | Range, ...], str]]
"""The model's inputs: name -> (static shape, dtype name)."""

Sample = dict[str, np.ndarray]
"""One run's inputs: name -> array of exactly the model's shape and dtype."""


def of_least_batch(specs: InputSpecs) -> InputSpecs:
    """Return the specs with an open first axis, the batch, at its least."""

    def of_shape(shape: tuple[int | Range, ...]) -> tuple[int | Range, ...]:
        return tuple(
            extent.low if axis == 0 and isinstance(extent, Range) else extent
            for axis, extent in enumerate(shape)
        )

    return {name: (of_shape(shape), dtype) for name, (shape, dtype) in specs.items()}


@dataclass(frozen=True)
class ArrayFile:
    """The samples of one file.

    Attributes
    ----------
    path : ``.npz`` with one array an input, or ``.npy`` for a model of one input.
    specs : the model's inputs.
    headers : input name -> header of its array, with the samples along the first axis.
    count : number of samples.
    notes : what of the file is left out.
    """

    path: Path
    specs: InputSpecs
    headers: Mapping[str, Header]
    count: int
    notes: list[str]

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in order; raises ``TvmqError`` at the first value that is not finite."""
        with _opened(self.path, self.specs) as arrays, ExitStack() as stack:
            readers = {}
            for name, header in self.headers.items():
                source = _source(self.path, name)
                stream = stack.enter_context(arrays[name]())
                read_header(stream, source)
                readers[name] = RowReader(stream, header, source)
            for index in range(self.count):
                yield {name: self._take(reader, name, index) for name, reader in readers.items()}

    def _take(self, reader: RowReader, name: str, index: int) -> np.ndarray:
        shape, dtype = self.specs[name]
        header = self.headers[name]
        rows = reader.read(_rows_a_sample(header, shape))
        own = header.shape[1:] if len(header.shape) > len(shape) else (*shape[:1], *header.shape[1:])
        return converted(rows.reshape(own), dtype, f"{_source(self.path, name)}: sample {index}")


def open_array_file(path: Path, specs: InputSpecs, lone_sample: bool = False) -> ArrayFile:
    """Return the samples of a file, its headers checked against the model's inputs.

    Parameters
    ----------
    lone_sample : the file may also be one sample without the batch axis, as files in a folder often are.

    Raises
    ------
    TvmqError : not a readable ``.npy`` or ``.npz``; an input is missing, has no samples, another shape,
        another kind of dtype, or another number of samples than the others.
    """
    if path.suffix.lower() == ".npy" and len(specs) != 1:
        raise TvmqError(f"{path} is one array, but the model has the inputs {_listed(specs)}; use .npz files")
    headers = {}
    with _opened(path, specs) as arrays:
        for name, (shape, dtype) in specs.items():
            if name not in arrays:
                raise TvmqError(f"{path} lacks the model's input {name!r}; it has {_listed(arrays)}")
            with arrays[name]() as stream:
                header = read_header(stream, _source(path, name))
            if lone_sample and fits(header.shape, shape[1:]) and shape[:1] == (1,):
                header = replace(header, shape=(1, *header.shape))
            _check_header(header, shape, dtype, _source(path, name))
            headers[name] = header
        unused = sorted(arrays.keys() - specs.keys())
    counts = {
        name: header.shape[0] // _rows_a_sample(header, specs[name][0]) for name, header in headers.items()
    }
    if len(set(counts.values())) > 1:
        raise TvmqError(f"{path}: the inputs differ in their number of samples: {counts}")
    count = next(iter(counts.values()))
    return ArrayFile(path, specs, headers, count, _notes(path, unused, headers, specs))


@contextmanager
def _opened(path: Path, specs: InputSpecs) -> Iterator[Mapping[str, Callable[[], IO[bytes]]]]:
    """Give for each array of the file, by the input's name, what opens it as a byte stream."""
    try:
        if path.suffix.lower() == ".npy":
            yield {name: lambda: path.open("rb") for name in specs}
            return
        with zipfile.ZipFile(path) as archive:
            yield {name.removesuffix(".npy"): partial(archive.open, name) for name in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise TvmqError(f"{path} is not a readable {path.suffix} file: {error}") from error
    except OSError as error:
        raise TvmqError(f"cannot read {path}: {error.strerror or error}") from error


def _rows_a_sample(header: Header, shape: tuple[int | Range, ...]) -> int:
    """Return how many rows of the array make one sample: the batch, or one where samples are stacked."""
    return 1 if len(header.shape) == len(shape) + 1 else least(shape[0])


def _check_header(header: Header, shape: tuple[int | Range, ...], dtype: str, source: str) -> None:
    """Raise unless the array holds whole samples of the input."""
    stacked = len(header.shape) == len(shape) + 1 and fits(header.shape[1:], shape)
    in_rows = len(shape) > 0 and len(header.shape) == len(shape) and fits(header.shape[1:], shape[1:])
    if not stacked and not in_rows:
        rows = "N" if not shape else ",".join(["N", *map(str, shape[1:])])
        raise TvmqError(f"{source} has the shape {list(header.shape)}, expected [{rows}] with N samples")
    if header.shape[0] == 0:
        raise TvmqError(f"{source} is empty: it has the shape {list(header.shape)}")
    if header.shape[0] < _rows_a_sample(header, shape):
        raise TvmqError(f"{source} has {header.shape[0]} rows, fewer than the model's batch of {shape[0]}")
    if not is_convertible(header.dtype, dtype):
        raise TvmqError(f"{source} has the dtype {header.dtype}, expected {dtype}")


def _notes(path: Path, unused: list[str], headers: Mapping[str, Header], specs: InputSpecs) -> list[str]:
    """Return what of the file is left out: arrays that are no input, rows that fill no batch."""
    parts = [f"the arrays {_listed(unused)}, which are no inputs"] if unused else []
    for name, header in headers.items():
        rest = header.shape[0] % _rows_a_sample(header, specs[name][0])
        if rest:
            parts.append(f"the last {rest} rows of {name!r}, which fill no batch of {specs[name][0][0]}")
    return [f"{path}: left out {' and '.join(parts)}"] if parts else []


def _source(path: Path, name: str) -> str:
    return f"{path}: array {name!r}" if path.suffix.lower() == ".npz" else str(path)


def _listed(names: Iterable[str]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown[:10]) + (", ..." if len(shown) > 10 else "") if shown else "no arrays"
