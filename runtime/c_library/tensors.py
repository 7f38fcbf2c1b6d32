"""The model's inputs and outputs as C knows them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import TvmqError, unknown

C_TYPES = {
    **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float32": "float",
    "float64": "double",
    "bool": "uint8_t",
    # C has no name for it that all compilers know; these are its bits.
    "float16": "uint16_t",
}


@dataclass(frozen=True)
class CTensor:
    """A parameter of the library's function.

    Attributes
    ----------
    label : the tensor's name in the model.
    name : that of the parameter: ``"in_"`` or ``"out_"``, and what C allows of the label.
    dtype : in NumPy's words.
    shape : in the model's order, the last axis the fastest.
    """

    label: str
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def type(self) -> str:
        """The C type of an element."""
        return C_TYPES[self.dtype]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def text(self) -> str:
        """What a comment says of it: ``float32[1, 10], "scores"``."""
        return f'{self.dtype}{list(self.shape)}, "{self.label.replace("*/", "* /")}"'


def c_tensors(records: Sequence[Mapping[str, Any]], prefix: str) -> list[CTensor]:
    """Return the tensors of a package's metadata, with names that differ.

    Raises
    ------
    TvmqError : a dtype that C has no type for.
    """
    tensors: list[CTensor] = []
    for record in records:
        if record["dtype"] not in C_TYPES:
            raise unknown(f"dtype of C, of {record['name']!r},", record["dtype"], C_TYPES)
        name = prefix + c_word(record["name"])
        if name in [tensor.name for tensor in tensors]:
            name = f"{name}_{len(tensors)}"
        tensors.append(CTensor(record["name"], name, record["dtype"], tuple(record["shape"])))
    return tensors


def c_word(text: str) -> str:
    """Return a text with an underscore for whatever no identifier of C has."""
    return re.sub(r"\W", "_", text, flags=re.ASCII)


def check_name(name: str) -> None:
    """Raise ``TvmqError`` where a library of this name could not call its functions by it."""
    if not re.fullmatch(r"[A-Za-z]\w*", name, flags=re.ASCII):
        raise TvmqError(f"a C library's name must be letters, digits and underscores, got {name!r}")
