"""Open dimensions of a package: which sizes its inputs may have, and the shape that a run's arrays give them.

In ``mod.json`` an input's ``shape`` has the greatest sizes, ``open`` the names of the axes that may be shorter, and
``dimensions`` the range of each name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import TvmqError

Dimensions = Mapping[str, Sequence[int]]
"""Least and greatest size of each open dimension, by its name."""


class RunShapes:
    """The shapes of one run's inputs, checked one by one: those of one dimension agree.

    Parameters
    ----------
    dimensions : the package's.
    """

    def __init__(self, dimensions: Dimensions) -> None:
        self._dimensions = dimensions
        self._sizes: dict[str, tuple[int, str]] = {}

    def expected(self, tensor: Mapping[str, Any], given: Sequence[int]) -> tuple[int, ...]:
        """Return the shape that an input of this shape is to have: its own along open axes.

        Raises
        ------
        TvmqError : a size is out of its dimension's range, or differs from that of an input before.
        """
        shape, name = list(tensor["shape"]), tensor["name"]
        if len(given) != len(shape):
            return tuple(shape)
        for axis, dimension in sorted(tensor.get("open", {}).items()):
            size = int(given[int(axis)])
            low, high = self._dimensions[dimension]
            if not low <= size <= high:
                raise TvmqError(
                    f"input {name!r} has {size} in dimension {axis} ({dimension}); this package takes {low} to {high}"
                )
            first, owner = self._sizes.setdefault(dimension, (size, name))
            if first != size:
                raise TvmqError(
                    f"input {name!r} has {size} in dimension {axis} ({dimension}), and input {owner!r} has {first} "
                    "there; they must agree"
                )
            shape[int(axis)] = size
        return tuple(shape)
