"""A TOML file that describes an accelerator --> ``Hardware``; ``examples/hardware`` has two."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import TvmqError, unknown
from ..targets.hardware import Hardware
from . import kinds
from .kinds import Kind
from .toml_file import TomlFile, read_toml


def _integers(value: Any) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, list) else (value,)
    if not numbers or not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        raise ValueError(value)
    return numbers


INTEGERS = Kind("a number of bits, or a list of such", _integers)

KEYS: Mapping[str, tuple[Kind, str]] = {
    "name": (kinds.TEXT, "what it is called in reports and errors"),
    "operators": (kinds.NAMES, "the ONNX operators that it runs on integers; others stay in float"),
    "weight_bits": (INTEGERS, "widths of weights, 2 to 8 each"),
    "activation_bits": (INTEGERS, "widths of activations, 2 to 8 each"),
    "weight_granularity": (kinds.NAMES, '"tensor", "channel": what one weight scale may be for'),
    "activations": (kinds.NAMES, '"symmetric", "asymmetric": where the zero point may be'),
    "scales": (kinds.TEXT, '"float", or "power-of-two" where it shifts'),
}
"""The keys, all needed but the last: kind of the value, and what it says."""

OPTIONAL = ("scales",)


def read_hardware(path: str | Path) -> Hardware:
    """Return the accelerator that a file describes.

    Raises
    ------
    TvmqError : the file cannot be read, lacks a key, has one that there is not, or a value of another type; an
        operator that ONNX does not have.
    """
    file = read_toml(path, "hardware")
    values = {key: _value(file, key, value) for key, value in file.values.items()}
    for key in KEYS:
        if key not in values and key not in OPTIONAL:
            raise TvmqError(f"{file.path} lacks the key {key!r}, {KEYS[key][1]}")
    try:
        hardware = Hardware(**values)
        _check_operators(hardware.operators)
    except TvmqError as error:
        raise TvmqError(f"{file.path}: {error}") from error
    return hardware


def _value(file: TomlFile, key: str, value: Any) -> Any:
    if key not in KEYS:
        raise TvmqError(f"{file.place('', key)}: {unknown('key', key, KEYS)}")
    kind = KEYS[key][0]
    try:
        return kind.convert(value)
    except ValueError as error:
        raise TvmqError(f"{file.place('', key)}: {key!r} is {value!r}, expected {kind.expected}") from error


def _check_operators(operators: tuple[str, ...]) -> None:
    """Raise ``TvmqError`` for an operator that no ONNX model that can be imported has."""
    from ..frontends.onnx.converters.table import CONVERTERS

    for operator in operators:
        if operator not in CONVERTERS:
            raise unknown("ONNX operator", operator, CONVERTERS)
