"""The shape of each input of a model: what it fixes, completed by what the user gives.

A dimension may stay open: a range is given for it. Dimensions that the model gives one name are one, and so are those
that the user does; others, on the same axis of several inputs, where their ranges are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..errors import TvmqError, unknown
from ..ranges import Range

Extent: TypeAlias = int | Range | str | tuple[int, int]
"""A size, or a range of them: as ``Range``, as text such as ``"1..512"``, or as its ends."""

Given: TypeAlias = Mapping[str, Sequence[Extent] | Extent]
"""Shapes by input, and extents by the name of a dimension of the model."""

Declared: TypeAlias = tuple[int | str, ...] | None
"""A shape in the model, a string for each extent that it leaves open; None where even the rank is unknown."""


@dataclass(frozen=True)
class OpenShapes:
    """Shapes of inputs, some of them open.

    Attributes
    ----------
    shapes : of each input, by name; an open dimension has its name there.
    ranges : of each open dimension, by its name.
    """

    shapes: dict[str, tuple[int | str, ...]]
    ranges: dict[str, Range] = field(default_factory=dict)

    def at(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Return the shapes for sizes of the open dimensions."""
        return {
            name: tuple(sizes[extent] if isinstance(extent, str) else extent for extent in shape)
            for name, shape in self.shapes.items()
        }


def as_flag(shapes: Mapping[str, str]) -> str:
    """Return shapes as the command line takes them."""
    listed = ",".join(f"{repr(name)[1:-1]}:{shape}" for name, shape in shapes.items())
    return f'--input-shapes "{listed}"'


def complete(
    declared: Mapping[str, Declared],
    given: Given | None,
    how: Callable[[Mapping[str, str]], str] = as_flag,
) -> OpenShapes:
    """Return the shape of each input.

    Parameters
    ----------
    declared : the shape of each input in the model.
    given : as in ``--input-shapes``; it need not name inputs that are static already.
    how : gives the words that a message proposes shapes in.

    Raises
    ------
    TvmqError : a name that is no input, a rank or an extent that contradicts the model, an extent below 1, a
        dimension with two values, or an input that is still dynamic.
    """
    by_input, by_dimension = _sorted(dict(given or {}), declared)
    known = _Known()
    shapes, dynamic = {}, {}
    for name, own in declared.items():
        wanted = by_input.get(name)
        if wanted is None and own is not None:
            wanted = tuple(by_dimension.get(str(extent), extent) for extent in own)  # type: ignore[arg-type]
        if wanted is not None and not any(isinstance(extent, str) for extent in wanted):
            shapes[name] = known.shape(name, own, wanted)
        else:
            dynamic[name] = own
    if dynamic:
        raise _dynamic_error(dynamic, how)
    return OpenShapes(shapes, known.ranges)


def _sorted(
    given: dict[str, Sequence[Extent] | Extent], inputs: Mapping[str, Declared]
) -> tuple[dict[str, tuple[int | Range, ...]], dict[str, int | Range]]:
    """Return what is given by input, and what by dimension."""
    by_input: dict[str, tuple[int | Range, ...]] = {}
    by_dimension: dict[str, int | Range] = {}
    named = {
        extent
        for shape in inputs.values()
        for extent in shape or ()
        if isinstance(extent, str) and extent != "?"
    }
    for name, value in given.items():
        if name in inputs and not isinstance(value, int | Range | str):
            by_input[name] = tuple(_extent(extent, name) for extent in value)
        elif name in named and (isinstance(value, int | Range | str | tuple)):
            by_dimension[name] = _extent(value, name)
        elif isinstance(value, int | Range | str):
            raise unknown("dimension", name, named)
        else:
            raise unknown("input", name, inputs)
    return by_input, by_dimension


def _extent(value: Extent, name: str) -> int | Range:
    """Return a size or a range as users may write it."""
    if isinstance(value, Range):
        return value
    found = Range.parse(value) if isinstance(value, str) else None
    if found is not None:
        return found
    try:
        return Range(*map(int, value)) if isinstance(value, tuple) else int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TvmqError(
            f"{name!r} is given the extent {value!r}; expected a number, or a range such as '1..512'"
        ) from None


@dataclass
class _Known:
    """What the inputs so far say of dimensions: sizes, and ranges."""

    symbols: dict[str, tuple[int | Range, str]] = field(default_factory=dict)
    ranges: dict[str, Range] = field(default_factory=dict)

    def shape(self, name: str, declared: Declared, given: Sequence[int | Range]) -> tuple[int | str, ...]:
        """Return the shape of an input, open dimensions by name, having checked it."""
        shape = tuple(given)
        if any(isinstance(extent, int) and extent < 1 for extent in shape):
            raise TvmqError(
                f"input {name!r} is given the shape {_show(shape)}: every extent must be at least 1"
            )
        if declared is None:
            declared = ("?",) * len(shape)
        if len(shape) != len(declared):
            raise TvmqError(
                f"input {name!r} is given the shape {_show(shape)} of rank {len(shape)}; "
                f"the model has {_show(declared)} of rank {len(declared)}"
            )
        for extent, fixed in zip(shape, declared, strict=True):
            if isinstance(fixed, int) and extent != fixed:
                raise TvmqError(
                    f"input {name!r} is given the shape {_show(shape)}; the model fixes {_show(declared)}"
                )
            if isinstance(fixed, str) and fixed != "?":
                first, owner = self.symbols.setdefault(fixed, (extent, name))
                if first != extent:
                    raise TvmqError(
                        f"dimension {fixed!r} is {first} in input {owner!r} and {extent} in input {name!r}; "
                        "the model has one value for it"
                    )
        return tuple(
            self._named(extent, fixed, axis)
            if isinstance(extent, Range) and extent.low < extent.high
            else (extent.low if isinstance(extent, Range) else extent)
            for axis, (extent, fixed) in enumerate(zip(shape, declared, strict=True))
        )

    def _named(self, extent: Range, fixed: int | str, axis: int) -> str:
        """Return the name of an open dimension."""
        named = isinstance(fixed, str) and fixed != "?"
        name = extent.name or (re.sub(r"\W", "_", str(fixed)) if named else "")
        if not name:
            same = (
                known
                for known, one in self.ranges.items()
                if known.startswith(f"dim{axis}") and one == extent
            )
            taken = sum(known.startswith(f"dim{axis}") for known in self.ranges)
            name = next(same, f"dim{axis}" + (f"_{taken}" if taken else ""))
        if self.ranges.setdefault(name, extent) != extent:
            raise TvmqError(
                f"dimension {name!r} is given two ranges, {self.ranges[name]} and {extent}; it has one"
            )
        return name


def _dynamic_error(dynamic: Mapping[str, Declared], how: Callable[[Mapping[str, str]], str]) -> TvmqError:
    """Name the dynamic inputs, and propose shapes with 1 for each unknown extent."""
    shown = ", ".join(
        f"{name!r} has the shape {_show(shape)}" if shape is not None else f"{name!r} has no shape at all"
        for name, shape in dynamic.items()
    )
    proposal = {
        name: "[...]"
        if shape is None
        else _show(1 if isinstance(extent, str) else extent for extent in shape)
        for name, shape in dynamic.items()
    }
    return TvmqError(f"shapes must be static, and input {shown}: give them, such as {how(proposal)}")


def _show(shape) -> str:
    return "[" + ",".join(str(extent) for extent in shape) + "]"
