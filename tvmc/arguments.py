"""Values of flags: text to Python, with a message for what is malformed. For argparse's ``type=``."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from ..errors import TvmqError
from ..ranges import Range

_SHAPE = re.compile(r"\s*(?P<name>[^\s\[\]][^\[\]]*?)\s*:\s*\[(?P<extents>[^\[\]]*)\]\s*,?")
_DIMENSION = re.compile(r"\s*(?P<name>[^\s\[\]:=,]+)\s*=\s*(?P<extent>[\d.]+)\s*(?:,|\s|$)")


def input_shapes(text: str) -> dict[str, tuple[int | Range, ...] | int | Range]:
    """Return ``{"x": (1, 3, 224, 224), "y": (1, 2)}`` of ``"x:[1,3,224,224] y:[1,2]"``.

    An extent may be a range, as in ``"x:[1,1..512]"``; dimensions may go by their names: ``"N=1,S=1..512"``.
    """
    shapes: dict[str, tuple[int | Range, ...] | int | Range] = {}
    position = 0
    while text[position:].strip():
        match = _DIMENSION.match(text, position) or _SHAPE.match(text, position)
        if match is None:
            raise argparse.ArgumentTypeError(f"{text!r} must look like 'x:[1,3,224,224] y:[1,2]'")
        name = match["name"]
        if name in shapes:
            raise argparse.ArgumentTypeError(f"{text!r} gives {name!r} twice")
        if match.re is _DIMENSION:
            shapes[name] = _extent(match["extent"], name)
        else:
            extents = match["extents"].split(",") if match["extents"].strip() else []
            shapes[name] = tuple(_extent(extent, name) for extent in extents)
        position = match.end()
    if not shapes:
        raise argparse.ArgumentTypeError("no shapes; they look like 'x:[1,3,224,224] y:[1,2]'")
    return shapes


def input_dtypes(text: str) -> dict[str, str]:
    """Return ``{"x": "float32", "ids": "int64"}`` of ``"x:float32 ids:int64"``, or with commas."""
    found: dict[str, str] = {}
    for part in text.replace(",", " ").split():
        name, colon, dtype = part.rpartition(":")  # a dtype has none, and a name may
        if not (name and colon and dtype):
            raise argparse.ArgumentTypeError(f"{text!r} must look like 'x:float32 ids:int64'")
        if name in found:
            raise argparse.ArgumentTypeError(f"{text!r} gives {name!r} twice")
        found[name] = dtype
    if not found:
        raise argparse.ArgumentTypeError("no dtypes; they look like 'x:float32 ids:int64'")
    return found


def sizes(text: str) -> dict[str, int]:
    """Return ``{"N": 1, "S": 128}`` of ``"N=1,S=128"``."""
    found: dict[str, int] = {}
    for part in text.replace(",", " ").split():
        name, _, value = part.partition("=")
        if not name or not value.isdecimal() or name in found:
            raise argparse.ArgumentTypeError(f"{text!r} must look like 'N=1,S=128'")
        found[name] = int(value)
    return found


def _extent(text: str, name: str) -> int | Range:
    try:
        found = Range.parse(text)
    except TvmqError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if found is not None:
        return found
    try:
        extent = int(text)
    except ValueError:
        extent = 0
    if extent < 1:
        raise argparse.ArgumentTypeError(
            f"the shape of {name!r} must be of positive numbers, or ranges such as 1..512, got {text.strip()!r}"
        )
    return extent


def pass_config(text: str) -> tuple[str, Any]:
    """Return the name and value of ``name=value``; a value is JSON where it is valid JSON, else text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} must look like name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def binding(text: str) -> tuple[str, Any]:
    """Return the name and the number, or list of numbers, of ``name=value``."""
    name, equals, value = text.rpartition("=")  # a number has none, and a name may
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = None
    if not (name and equals) or isinstance(parsed, str | dict | None):
        raise argparse.ArgumentTypeError(f"{text!r} must look like name=16000 or name=[1,2]")
    return name, parsed


def names(text: str) -> list[str]:
    """Return the names between the commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def share(text: str) -> float:
    """Return a number between 0 and 1, 1 included."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0, and at most 1")
    return value


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return value


def count(text: str) -> int:
    """Return a whole number of at least 0."""
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 0")
    return int(text)


def host_and_port(text: str) -> tuple[str, int]:
    """Return the host and the port of ``host:port``; the port of ``host`` alone is 9090."""
    host, _, port = (text if ":" in text else f"{text}:9090").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} must look like host:9190")
    return host, int(port)
