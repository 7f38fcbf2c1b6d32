"""Arrays in ``.npy`` form, read row by row: a header first, then as many rows at a time as are wanted.

Works on any byte stream, such as a member of a compressed ``.npz``, which cannot be memory-mapped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import IO

import numpy as np

from ...errors import TvmqError

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

LARGEST_FORTRAN = 2**31
"""Bytes of an array in Fortran order."""


@dataclass(frozen=True)
class Header:
    """Shape and dtype of a stored array; ``fortran_order`` where its first axis varies fastest."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype


def read_header(stream: IO[bytes], source: str) -> Header:
    """Return the header and leave the stream at the data.

    Parameters
    ----------
    source : the array's name in messages.

    Raises
    ------
    TvmqError : not in ``.npy`` form, or an array of Python objects or records.
    """
    try:
        version = np.lib.format.read_magic(stream)
    except ValueError as error:
        raise TvmqError(f"{source} is not a NumPy array: {error}") from error
    if version not in _HEADER_READERS:
        raise TvmqError(f"{source} is not a NumPy array: format version {version} is not supported")
    try:
        header = Header(*_HEADER_READERS[version](stream))
    # NumPy reads the header as Python's literals, and raises what that does.
    except (ValueError, TypeError, SyntaxError, AttributeError, MemoryError, RecursionError) as error:
        raise TvmqError(f"{source} is not a NumPy array: its header is damaged") from error
    if any(extent < 0 for extent in header.shape):
        raise TvmqError(f"{source} is not a NumPy array: it has the shape {list(header.shape)}")
    if header.dtype.hasobject or header.dtype.names is not None:
        raise TvmqError(f"{source} holds {header.dtype}, and numbers were expected")
    return header


class RowReader:
    """Reads an array's rows, that is the slices along its first axis, in order.

    Parameters
    ----------
    stream : positioned behind the header.
    """

    def __init__(self, stream: IO[bytes], header: Header, source: str) -> None:
        self._stream = stream
        self._header = header
        self._source = source
        self._row_shape = header.shape[1:]
        # Fortran order scatters a row over the whole file: only then is all of it held at once.
        self._whole = self._read_fortran() if header.fortran_order and len(header.shape) > 1 else None
        self._next = 0

    def read(self, count: int) -> np.ndarray:
        """Return the next ``count`` rows, ``[count, ...]``, as a new array in the stored dtype."""
        start = self._next
        self._next += count
        if self._whole is not None:
            return np.ascontiguousarray(self._whole[start : self._next])
        return self._take((count, *self._row_shape))

    def _read_fortran(self) -> np.ndarray:
        size = math.prod(self._header.shape) * self._header.dtype.itemsize
        if size > LARGEST_FORTRAN:
            raise TvmqError(
                f"{self._source} has {size / 2**30:.1f} GiB in Fortran order, all of which must be held at once: "
                "save it as np.ascontiguousarray(array)"
            )
        return self._take(self._header.shape[::-1]).T

    def _take(self, shape: tuple[int, ...]) -> np.ndarray:
        size = math.prod(shape) * self._header.dtype.itemsize
        data = self._stream.read(size)
        if len(data) != size:
            raise TvmqError(f"{self._source} is cut short: {size - len(data)} bytes are missing")
        return np.frombuffer(bytearray(data), dtype=self._header.dtype).reshape(shape)
