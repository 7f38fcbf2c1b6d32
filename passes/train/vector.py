"""All parameters as one vector of float32, so that a step, a checkpoint and a comparison are of single arrays.

Each parameter begins at a multiple of 64 bytes, and the function that is trained reads it where it lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .parameter import RATES, Parameter

_ALIGNMENT = 64


class Vector:
    """The parameters' values.

    Attributes
    ----------
    values : float32 ``[size]``, with zeros between parameters.
    parameters : what the values are of.
    """

    def __init__(self, parameters: Sequence[Parameter]):
        self.parameters = list(parameters)
        floats, start = _ALIGNMENT // 4, 0
        self._places: list[slice] = []
        for parameter in self.parameters:
            self._places.append(slice(start, start + parameter.values.size))
            start += -(-parameter.values.size // floats) * floats
        self.values = self.empty(start)
        for parameter, view in zip(self.parameters, self.views(self.values), strict=True):
            view[...] = parameter.values

    @staticmethod
    def empty(size: int) -> np.ndarray:
        """Return zeros that begin where memory is aligned."""
        room = np.zeros(4 * size + _ALIGNMENT, np.uint8)
        start = -room.ctypes.data % _ALIGNMENT
        return room[start : start + 4 * size].view(np.float32)

    def like(self, numbers: Sequence[np.ndarray | float]) -> np.ndarray:
        """Return a vector with an array, or a number, for each parameter."""
        found = self.empty(self.values.size)
        for view, number in zip(self.views(found), numbers, strict=True):
            view[...] = number
        return found

    @property
    def units(self) -> np.ndarray:
        """What each number moves by where the rate is 1: its unit, times the rate of its kind."""
        return self.like([RATES[parameter.kind] * parameter.unit for parameter in self.parameters])

    def views(self, vector: np.ndarray) -> list[np.ndarray]:
        """Return the parameters' parts of a vector, in their shapes."""
        return [
            vector[place].reshape(parameter.values.shape)
            for place, parameter in zip(self._places, self.parameters, strict=True)
        ]

    def named(self, vector: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return the same by the parameters' keys; of the values where no vector is given."""
        views = self.views(self.values if vector is None else vector)
        return {parameter.key: view for parameter, view in zip(self.parameters, views, strict=True)}

    def put(self, new: Mapping[str, np.ndarray]) -> None:
        """Take new values, by the parameters' keys; raises ``KeyError`` for another and ``ValueError`` for a shape."""
        views = self.named()
        for key, array in new.items():
            views[key][...] = array
