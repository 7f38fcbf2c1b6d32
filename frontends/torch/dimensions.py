"""The shape of each input of an exported program: what torch fixed, completed by what the user gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram

from ...errors import TvmqError
from ...ranges import Range
from ..shapes import Declared, Given, OpenShapes, complete
from .signature import Signature


def shapes_of_program(program: ExportedProgram, signature: Signature, given: Given | None) -> OpenShapes:
    """Return the shape of each input; a dynamic dimension has torch's symbol as its name, such as ``s0``.

    Raises
    ------
    TvmqError : as ``frontends.shapes.complete``; a size beyond what the program was exported for; dimensions that torch
        knows by others, such as ``2*s0``, of other sizes, or as a range.
    """
    symbols: dict[str, Any] = {}
    declared: dict[str, Declared] = {}
    for node, name in signature.inputs.items():
        shape = node.meta["val"].shape
        declared[name] = tuple(_extent(extent, symbols) for extent in shape)
    shapes = complete(declared, given, _as_argument)
    _check(program, declared, shapes, symbols)
    return shapes


def _as_argument(shapes: Mapping[str, str]) -> str:
    return "input_shapes={" + ", ".join(f"{name!r}: {shape}" for name, shape in shapes.items()) + "}"


def _extent(extent: int | torch.SymInt, symbols: dict[str, Any]) -> int | str:
    if isinstance(extent, int):
        return extent
    expression = extent.node.expr
    if expression.is_number:
        return int(expression)
    symbols[str(expression)] = expression
    return str(expression)


def _check(
    program: ExportedProgram, declared: Mapping[str, Declared], shapes: OpenShapes, symbols: Mapping[str, Any]
) -> None:
    """Raise ``TvmqError`` for sizes that the program was not exported for."""
    sizes = _sizes(declared, shapes)
    known = {name: size for name, size in sizes.items() if isinstance(symbols[name], sympy.Symbol)}
    for symbol, bounds in program.range_constraints.items():
        size = known.get(str(symbol))
        if size is not None and not (bounds.lower <= size.low and size.high <= bounds.upper):
            raise TvmqError(
                f"dimension {str(symbol)!r} is given {_shown(size)}; the model was exported for {bounds.lower} to "
                f"{bounds.upper}: export it with torch.export.Dim(name, min=..., max=...)"
            )
    for name, expression in symbols.items():
        if name in known:
            continue
        own = {str(each) for each in expression.free_symbols}
        if any(known[each].low < known[each].high for each in own & set(known)) or not own <= set(known):
            raise TvmqError(
                f"dimension {name!r} is known by others, which must be inputs' own dimensions, each of one size"
            )
        wanted = int(expression.subs({each: known[str(each)].low for each in expression.free_symbols}))
        if sizes[name] != Range(wanted, wanted):
            raise TvmqError(f"dimension {name!r} is given {_shown(sizes[name])}, and is {wanted}")


def _sizes(declared: Mapping[str, Declared], shapes: OpenShapes) -> dict[str, Range]:
    """Return the range of each of torch's symbols and expressions; of one size where it does not stay open."""
    found = {}
    for name, shape in declared.items():
        for own, extent in zip(shape, shapes.shapes[name], strict=True):
            if isinstance(own, str):
                size = shapes.ranges[extent] if isinstance(extent, str) else Range(extent, extent)
                found[own] = Range(size.low, size.high)
    return found


def _shown(size: Range) -> str:
    return str(size.low) if size.low == size.high else f"{size.low}..{size.high}"
