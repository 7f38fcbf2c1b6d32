"""Parameters of tensors from outside: what calibration found before, or what a person or another tool decided.

A file of them is JSON with one tensor a line, to be read, compared and edited:

    {
      "format": "tvmq-calibration",
      "version": 1,
      "model": "9f2c...",
      "activations": {
        "conv1": {"scale": 0.0235, "zero_point": 0, "dtype": "uint8", "bits": 8},
        "conv2": {"low": -1.5, "high": 6.0}
      },
      "weights": {
        "conv1": {"scales": [0.01, 0.02], "bits": 8}
      }
    }

Only ``format``, ``version`` and what is wanted of the tensors need be there. ``model`` is the fingerprint of the
model that was calibrated (``passes.hub.fingerprint``).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import TvmqError, unknown
from .parameters import LARGEST_SCALE, SMALLEST_SCALE

FORMAT = "tvmq-calibration"
VERSION = 1
_KEYS = ("format", "version", "model", "activations", "weights")


@dataclass(frozen=True)
class Activation:
    """Scale and zero point of an activation; ``dtype`` and ``bits`` that they are for, None for any."""

    scale: float
    zero_point: int
    dtype: str | None = None
    bits: int | None = None

    def __post_init__(self) -> None:
        _check_scale(self.scale)
        if not _is_whole(self.zero_point):
            raise TvmqError(f"a zero point must be a whole number, got {self.zero_point!r}")
        if self.dtype not in (None, "uint8", "int8"):
            raise unknown("dtype of an activation", self.dtype, ("uint8", "int8"))
        _check_bits(self.bits)


@dataclass(frozen=True)
class Range:
    """The values that an activation is to represent; its scale and zero point follow from the scheme."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (_is_finite(self.low) and _is_finite(self.high) and self.low < self.high):
            raise TvmqError(
                f"a range must be two finite numbers, low < high, got {self.low!r} to {self.high!r}"
            )


@dataclass(frozen=True)
class Weights:
    """Scales of weights, one for each output channel or one for all; ``bits`` that they are for, None for any."""

    scales: tuple[float, ...]
    bits: int | None = None

    def __post_init__(self) -> None:
        if not self.scales:
            raise TvmqError("scales of weights are empty; expected one, or one for each output channel")
        for scale in self.scales:
            _check_scale(scale)
        _check_bits(self.bits)


@dataclass(frozen=True)
class CalibrationCache:
    """Parameters by the names of pairs (``passes.hub.pairs``).

    Attributes
    ----------
    activations : by the name of the layer, or of the model's input, that gives the value.
    weights : by the name of the first layer that reads them.
    model : fingerprint of the model that they belong to; empty for any that has the names.
    path : the file that they were read from, for messages; empty where there is none.
    """

    activations: Mapping[str, Activation | Range] = field(default_factory=dict)
    weights: Mapping[str, Weights] = field(default_factory=dict)
    model: str = ""
    path: str = field(default="", compare=False)

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"calibration cache {self.path!r}" if self.path else "parameters from outside"


def write_cache(path: str | os.PathLike[str], cache: CalibrationCache) -> None:
    """Write the file, tensors sorted by name; a file that is there is replaced at once or not at all.

    Raises
    ------
    TvmqError : it cannot be written.
    """
    sections = {
        "activations": {name: _said(record) for name, record in cache.activations.items()},
        "weights": {name: _said(record) for name, record in cache.weights.items()},
    }
    head = {"format": FORMAT, "version": VERSION, **({"model": cache.model} if cache.model else {})}
    parts = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for section, records in sections.items():
        lines = [f"    {json.dumps(name)}: {json.dumps(records[name])}" for name in sorted(records)]
        parts.append(
            f'  "{section}": {{\n' + ",\n".join(lines) + "\n  }" if lines else f'  "{section}": {{}}'
        )
    path = Path(path)
    whole = path.with_name(path.name + ".part")
    try:
        whole.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
        whole.replace(path)
    except OSError as error:
        raise TvmqError(f"cannot write calibration cache {str(path)!r}: {error.strerror}") from error


def read_cache(path: str | os.PathLike[str]) -> CalibrationCache:
    """Return what the file says.

    Raises
    ------
    TvmqError : it cannot be read, is of another format or version, has a key that there is not, or a value that a
        parameter does not take. The message names the file and the tensor.
    """
    where = f"calibration cache {str(path)!r}"
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_without_doubles)
    except OSError as error:
        raise TvmqError(f"cannot read {where}: {error.strerror}") from error
    except ValueError as error:  # JSON's and Unicode's own are of this kind
        raise TvmqError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TvmqError(f'{where}: expected an object with "format": "{FORMAT}"')
    if content.get("version") != VERSION:
        raise TvmqError(f"{where}: its version is {content.get('version')!r}, expected {VERSION}")
    for key in content:
        if key not in _KEYS:
            raise TvmqError(f"{where}: {unknown('key', key, _KEYS)}")
    model = content.get("model", "")
    if not isinstance(model, str):
        raise TvmqError(f"{where}: 'model' must be a text, got {model!r}")
    sections = {}
    for section, read in (("activations", _activation), ("weights", _weights)):
        records = content.get(section, {})
        if not isinstance(records, dict):
            raise TvmqError(f"{where}: {section!r} must be an object, by the names of tensors")
        sections[section] = {
            name: _record(f"{where}, {section}, {name!r}", read, record) for name, record in records.items()
        }
    return CalibrationCache(sections["activations"], sections["weights"], model, str(path))


def _record(where: str, read: Any, record: Any) -> Any:
    if not isinstance(record, dict):
        raise TvmqError(f"{where}: expected an object, got {record!r}")
    try:
        return read(record)
    except TvmqError as error:
        raise TvmqError(f"{where}: {error}") from error


def _activation(record: dict[str, Any]) -> Activation | Range:
    kind: type[Activation] | type[Range] = Range if {"low", "high"} & {*record} else Activation
    required = ("low", "high") if kind is Range else ("scale", "zero_point")
    _check_keys(record, required, () if kind is Range else ("dtype", "bits"))
    return kind(**record)


def _weights(record: dict[str, Any]) -> Weights:
    _check_keys(record, ("scales",), ("bits",))
    scales = record["scales"]
    return Weights(tuple(scales) if isinstance(scales, list) else (scales,), record.get("bits"))


def _check_keys(record: dict[str, Any], required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    for key in record:
        if key not in (*required, *optional):
            raise unknown("key", key, (*required, *optional))
    for key in required:
        if key not in record:
            raise TvmqError(f"there is no {key!r}")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; one that names a key twice would silently lose the first."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{double!r} stands there twice")
    return content


def _said(record: Activation | Range | Weights) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if value is not None}


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_scale(scale: Any) -> None:
    if not (_is_finite(scale) and SMALLEST_SCALE <= scale <= LARGEST_SCALE):
        raise TvmqError(f"a scale must be a positive float32, got {scale!r}")


def _check_bits(bits: Any) -> None:
    if bits is not None and not (_is_whole(bits) and 2 <= bits <= 8):
        raise TvmqError(f"bits must be a whole number from 2 to 8, got {bits!r}")
