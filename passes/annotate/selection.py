"""Which of the user's layers may be quantized: names, operator types and patterns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ...errors import unknown
from ..hub.layers import Layer
from .options import QuantizeOptions


def matches(pattern: str, name: str) -> bool:
    """Match exactly first: ONNX names may hold the brackets that patterns use."""
    return pattern == name or fnmatchcase(name, pattern)


def _check(patterns: Iterable[str], names: set[str], kind: str) -> None:
    for pattern in patterns:
        if not any(matches(pattern, name) for name in names):
            raise unknown(kind, pattern, names)


@dataclass(frozen=True)
class Selection:
    """The user's choice.

    Attributes
    ----------
    skipped : why each layer that the user excluded, or that the hardware lacks, stays in float, by its name.
    unwanted : layers that are not among those to quantize. They may still be absorbed by one that is, or pass
        its integers on.
    """

    skipped: dict[str, str]
    unwanted: frozenset[str]


def select(layers: list[Layer], options: QuantizeOptions) -> Selection:
    """Return which of the layers the user excluded.

    Raises
    ------
    TvmqError : a name or pattern that matches no layer, with the close matches.
    """
    names = {layer.name for layer in layers}
    types = {layer.op for layer in layers}
    _check(options.skip_layers, names, "layer")
    _check(options.skip_ops, types, "operator type")
    _check(options.quantize_only, names | types, "layer or operator type")
    skipped = {}
    unwanted = set()
    for layer in layers:
        by_name = [pattern for pattern in options.skip_layers if matches(pattern, layer.name)]
        by_type = [pattern for pattern in options.skip_ops if matches(pattern, layer.op)]
        if by_name or by_type:
            kind = "layer" if by_name else "operator type"
            skipped[layer.name] = f"skipped by {kind} {(by_name + by_type)[0]!r}"
        elif options.hardware is not None and layer.op not in options.hardware.operators:
            skipped[layer.name] = f"the hardware {options.hardware.name!r} has no {layer.op}"
        wanted = [
            pattern
            for pattern in options.quantize_only
            if matches(pattern, layer.name) or matches(pattern, layer.op)
        ]
        if options.quantize_only and not wanted:
            unwanted.add(layer.name)
    return Selection(skipped, frozenset(unwanted))
