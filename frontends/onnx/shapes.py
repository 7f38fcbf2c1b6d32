"""The static shape of each input of an ONNX graph: what the file fixes, completed by what the user gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from ...errors import TvmqError, unknown
from .graph import Graph, real_inputs


def static_shapes(
    graph: onnx.GraphProto | Graph, given: Mapping[str, Sequence[int]] | None
) -> dict[str, tuple[int, ...]]:
    """Return the static shape of each input.

    Parameters
    ----------
    given : shapes by input name, as in ``--input-shapes``; they need not name inputs that are static already.

    Raises
    ------
    TvmqError : a name that is no input, a rank or an extent that contradicts the file, an extent below 1, a
        symbolic dimension with two values, or an input that is still dynamic.
    """
    given = dict(given or {})
    inputs = {value.name: value for value in real_inputs(graph)}
    for name in given:
        if name not in inputs:
            raise unknown("input", name, inputs)
    symbols: dict[str, tuple[int, str]] = {}
    shapes, dynamic = {}, {}
    for name, value in inputs.items():
        if not value.type.HasField("tensor_type"):
            raise TvmqError(f"input {name!r} is no tensor but a {value.type.WhichOneof('value')}")
        declared = declared_shape(value)
        if name in given:
            shapes[name] = _checked(name, declared, given[name], symbols)
        elif declared is not None and all(isinstance(extent, int) for extent in declared):
            shapes[name] = tuple(int(extent) for extent in declared)
        else:
            dynamic[name] = declared
    if dynamic:
        raise _dynamic_error(dynamic)
    return shapes


def declared_shape(value: onnx.ValueInfoProto) -> tuple[int | str, ...] | None:
    """Return the shape in the file, a string for each unknown extent; None where even the rank is unknown."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else dim.dim_param or "?"
        for dim in tensor.shape.dim
    )


def _checked(
    name: str,
    declared: tuple[int | str, ...] | None,
    given: Sequence[int],
    symbols: dict[str, tuple[int, str]],
) -> tuple[int, ...]:
    shape = tuple(int(extent) for extent in given)
    if any(extent < 1 for extent in shape):
        raise TvmqError(f"input {name!r} is given the shape {_show(shape)}: every extent must be at least 1")
    if declared is None:
        return shape
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
            first, owner = symbols.setdefault(fixed, (extent, name))
            if first != extent:
                raise TvmqError(
                    f"dimension {fixed!r} is {first} in input {owner!r} and {extent} in input {name!r}; "
                    "the model has one value for it"
                )
    return shape


def _dynamic_error(dynamic: dict[str, tuple[int | str, ...] | None]) -> TvmqError:
    """Name the dynamic inputs, and propose the flag with 1 for each unknown extent."""
    shown = ", ".join(
        f"{name!r} has the shape {_show(shape)}" if shape is not None else f"{name!r} has no shape at all"
        for name, shape in dynamic.items()
    )
    proposal = ",".join(
        f"{repr(name)[1:-1]}:{_show(1 if isinstance(extent, str) else extent for extent in shape)}"
        if shape is not None
        else f"{repr(name)[1:-1]}:[...]"
        for name, shape in dynamic.items()
    )
    return TvmqError(
        f'shapes must be static, and input {shown}: give them, such as --input-shapes "{proposal}"'
    )


def _show(shape) -> str:
    return "[" + ",".join(str(extent) for extent in shape) + "]"
