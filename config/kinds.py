"""The kinds of values that options take: each from the text of a flag, and from a value of a TOML file.

    flag text --parse--> a value as TOML has it --convert--> the option's value

so that a flag and a key of a file accept the same things. ``parse`` and ``convert`` raise ``ValueError`` for what they
do not take; whoever calls them says where the value stood and what was ``expected``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def _last(values: Sequence[Any]) -> Any:
    return values[-1]


@dataclass(frozen=True)
class Kind:
    """One kind of value.

    Attributes
    ----------
    expected : what is taken, as it stands in an error behind "expected".
    convert : what a TOML file holds -> the option's value.
    parse : a flag's text -> what a TOML file would hold.
    metavar : the value's name in ``--help``; empty for a switch, whose flags take no value.
    join : the values of a flag that was given several times -> one.
    """

    expected: str
    convert: Callable[[Any], Any]
    parse: Callable[[str], Any] = str
    metavar: str = ""
    join: Callable[[Sequence[Any]], Any] = _last

    def from_text(self, text: str) -> Any:
        """Return the value of a flag; raises ``ValueError``."""
        return self.convert(self.parse(text))

    @property
    def is_switch(self) -> bool:
        return not self.metavar


def _checked(value: Any, *types: type) -> Any:
    """Return the value; raises ``ValueError`` unless it is of one of the types. A boolean is no number."""
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if not _checked(value, str):
        raise ValueError(value)
    return value


def integer(low: int, high: int | None = None) -> Kind:
    """Return the kind of the whole numbers from ``low`` to ``high``, both among them."""

    def convert(value: Any) -> int:
        number = _checked(value, int)
        if number < low or (high is not None and number > high):
            raise ValueError(value)
        return number

    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
    return Kind(f"a whole number {bounds}", convert, int, "N")


def choice(*names: str) -> Kind:
    """Return the kind of the names of a fixed few things."""

    def convert(value: Any) -> str:
        if value not in names:
            raise ValueError(value)
        return value

    return Kind(" or ".join(names), convert, metavar="|".join(names))


def _number(value: Any) -> float:
    number = float(_checked(value, int, float))
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _share(value: Any) -> float:
    number = _number(value)
    if not 0.0 <= number <= 1.0:
        raise ValueError(value)
    return number


def _names(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(_checked(value, list))
    return tuple(_text(name) for name in names)


def _numbers(value: Any) -> tuple[float, ...]:
    numbers = _checked(value, list) if isinstance(value, list) else [value]
    return tuple(_number(number) for number in numbers)


def _counts(value: Any) -> tuple[int, ...]:
    return tuple(_checked(count, int) for count in _checked(value, list))


def _size(value: Any) -> tuple[int, ...]:
    extents = _checked(value, list) if isinstance(value, list) else [value]
    return tuple(_checked(extent, int) for extent in extents)


def _bits(value: Any) -> dict[str, int | tuple[int, int]]:
    """Return bits by layer; a pair is of weights and activations."""
    found: dict[str, int | tuple[int, int]] = {}
    for layer, bits in _checked(value, dict).items():
        if isinstance(bits, list):
            weights, activations = (_checked(count, int) for count in bits)
            found[layer] = (weights, activations)
        else:
            found[layer] = _checked(bits, int)
    return found


def _parse_bits(text: str) -> dict[str, Any]:
    """Return ``{"conv1": 4, "*/head": [4, 8]}`` of ``conv1=4,*/head=4/8``."""
    found: dict[str, Any] = {}
    for entry in _split(text):
        layer, equals, bits = entry.rpartition("=")
        if not (equals and layer):
            raise ValueError(entry)
        counts = [int(count) for count in bits.split("/")]
        found[layer.strip()] = counts if len(counts) > 1 else counts[0]
    return found


_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def _time(value: Any) -> float:
    """Return the seconds of ``90``, ``"90s"``, ``"20min"`` or ``"1.5h"``."""
    if not isinstance(value, str):
        return _number(value)
    match = re.fullmatch(r"\s*([0-9.]+)\s*(s|min|h|)\s*", value)
    if match is None:
        raise ValueError(value)
    return _number(float(match[1])) * _SECONDS[match[2] or "s"]


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _parse_numbers(text: str) -> list[float]:
    return [float(part) for part in text.replace(",", " ").split()]


def _parse_counts(text: str) -> list[int]:
    return [int(part) for part in _split(text)]


def _parse_size(text: str) -> list[int]:
    return [int(part) for part in re.split(r"[,x ]+", text.strip())]


def _together(values: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for names in values for name in names)


def _merged(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for mapping in values for name, value in mapping.items()}


def _upper(value: Any) -> str:
    return _text(value).upper()


def _lower(value: Any) -> str:
    return _text(value).lower()


def _path(value: Any) -> Path:
    return Path(_text(value))


def _switch(value: Any) -> bool:
    return _checked(value, bool)


SWITCH = Kind("true or false", _switch)
TEXT = Kind("text", _text, metavar="NAME")
UPPER = Kind("text", _upper, metavar="NAME")
LOWER = Kind("text", _lower, metavar="NAME")
PATH = Kind("a path", _path, metavar="PATH")
NUMBER = Kind("a number", _number, float, "X")
SHARE = Kind("a number from 0 to 1", _share, float, "X")
NUMBERS = Kind("a number or numbers, such as 0.485,0.456,0.406", _numbers, _parse_numbers, "X,X,X")
COUNTS = Kind("whole numbers, such as 2,4,8", _counts, _parse_counts, "N,N,N")
TIME = Kind("a time, such as 90s, 20min or 1h", _time, metavar="TIME")
SIZE = Kind("a number of pixels or HEIGHT,WIDTH", _size, _parse_size, "SIZE")
NAMES = Kind("names", _names, _split, "NAMES", _together)
BITS = Kind("bits by layer, such as conv1=4 or conv1=4/8", _bits, _parse_bits, "LAYER=N", _merged)
