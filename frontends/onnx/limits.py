"""What a model may ask for at most: far beyond any that is compiled, and within what a machine survives.

A file of a few hundred bytes can name terabytes. Each limit is checked before what it bounds is read or made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import onnx

from ...errors import TvmqError

LARGEST_FILE = 2**31 - 1
"""Bytes of an ONNX file without its external data: protobuf has no larger message."""

LARGEST_VALUE = 2**36
"""Bytes of one tensor; beyond it no machine that a model is compiled for can hold it."""

LARGEST_SPARSE = 2**29
"""Bytes of the dense tensors that a graph's sparse ones stand for."""

LARGEST_CONSTANTS = 2**31
"""Bytes of all constants that are computed from others, ..."""

OF_STORED = 32
"""... and so many beside for each byte of constants in the file: 2-bit weights, written out in float32 and moved."""

MOST_VALUES = 2**16
"""Inputs, outputs and results of nodes, those in subgraphs, functions and rounds of loops too."""

LONGEST_NAME = 4096
"""Characters: each round of a loop has names of its own."""


def check_count(values: int) -> None:
    """Raise ``TvmqError`` for a model of too many values."""
    if values > MOST_VALUES:
        raise TvmqError(
            f"the model has more than {MOST_VALUES} values, which each of its nodes, inputs and outputs gives one of; "
            "that is too large"
        )


def values_of(nodes: Sequence[onnx.NodeProto]) -> int:
    """Return how many values nodes give, those in their subgraphs not counted."""
    return sum(max(1, len(node.output)) for node in nodes)


def check_names(names: Iterator[str | bytes]) -> None:
    """Raise ``TvmqError`` for a name that is no text (protobuf gives ``bytes`` then), or too long."""
    for name in names:
        if not isinstance(name, str):
            raise TvmqError("the model has a name that is no UTF-8 text")
        if len(name) > LONGEST_NAME:
            raise TvmqError(
                f"the model has a name of {len(name)} characters, {name[:20]!r}...; that is too long"
            )


def check_size(shape: Sequence[int], dtype: str, what: str, largest: int = LARGEST_VALUE) -> int:
    """Return the bytes of a tensor; raise ``TvmqError`` where no memory holds it."""
    size: int = math.prod(shape) * np.dtype(dtype).itemsize
    if size > largest:
        extents = ",".join(map(str, shape))
        raise TvmqError(
            f"{what} has the shape [{extents}] of {dtype}, {size / 2**30:.0f} GiB; that is too large"
        )
    return size


class Budget:
    """Bytes of constants that are computed from others.

    Parameters
    ----------
    stored : bytes of the constants that the file has.
    """

    def __init__(self, stored: int) -> None:
        self._limit, self._taken = LARGEST_CONSTANTS, 0
        self.give(stored)

    def give(self, stored: int) -> None:
        """Note bytes that the file has."""
        self._limit += OF_STORED * stored

    def take(self, size: int, what: str) -> None:
        """Count bytes; raise ``TvmqError`` that names what asked for more than there may be."""
        self._taken += size
        if self._taken > self._limit:
            raise TvmqError(
                f"{what}: what the model computes from constants alone comes to {self._taken / 2**30:.1f} GiB here; "
                "that is too large"
            )
