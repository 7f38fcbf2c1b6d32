"""Arrays of other libraries as NumPy's, without a copy.

torch tensor, memoryview, ... --> ndarray of the same memory
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import TvmqError, unknown


def by_name(kind: str, tensors: Sequence[Mapping[str, Any]], given: Any) -> Mapping[str, Any]:
    """Return what is given, by name.

    Parameters
    ----------
    kind : ``"input"`` or ``"output"``.
    tensors : the model's, each with a ``name``.
    given : values by name, some or all; where there is one tensor, also its value alone.

    Raises
    ------
    TvmqError : a name is unknown, or there is none where it takes one.
    """
    names = [tensor["name"] for tensor in tensors]
    if not isinstance(given, Mapping):
        if len(names) != 1:
            raise TvmqError(f"the model has {len(names)} {kind}s; expected {{name: array}} of {names}")
        return {names[0]: given}
    for name in given:
        if name not in names:
            raise unknown(kind, name, names)
    return given


def as_array(value: Any, what: str) -> np.ndarray:
    """Return the value as an array: a view where it has memory of its own, a new array of a number or a list.

    Parameters
    ----------
    value : an array, or what has the array interface, the buffer protocol, ``__array__`` or DLPack; a number; a list.
    what : names it in messages.

    Raises
    ------
    TvmqError : NumPy makes no array of it: a ragged list, memory of another device, ...
    """
    if isinstance(value, np.ndarray):
        return value
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except Exception as error:  # whatever the other library raises
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TvmqError(f"{what} is not an array: {reason[0]}") from error


def as_writable(array: np.ndarray) -> np.ndarray:
    """Return the same memory without its mark of being read-only, for readers that refuse to read marked memory."""
    if array.flags.writeable:
        return array
    return np.asarray(_Unmarked(array))


class _Unmarked:
    """What NumPy takes for an array that may be written to."""

    def __init__(self, array: np.ndarray) -> None:
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
        self._array = array  # keeps the memory
