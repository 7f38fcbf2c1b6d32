"""If, Loop and Scan, where the branch and the number of rounds are known at import.

    If(shape_of_x == 1) { a } else { b }         -->  a, or b
    Loop(3, True, s) { s = f(i, s); emit g(s) }  -->  s1 = f(0, s); s2 = f(1, s1); s3 = f(2, s2); concat(g(s1), ...)
    Scan(s, xs) { s = f(s, x); emit g(s) }       -->  the same over the slices of xs

What is decided only when the model runs is refused: a model here is one chain of operators, without branches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import onnx
from tvm import relax

from ...passes.hub.graph import constant, shape_of
from .inline import Inlined, inline

MOST_ROUNDS = 256
"""Of one loop: beyond it the code, and the time to compile it, grow out of hand."""


class Scope(Protocol):
    """What control flow asks of the import that it is part of."""

    opset: int

    def run(self, body: Inlined) -> None:
        """Convert the nodes of a body, in order."""

    def known(self, name: str) -> np.ndarray | None:
        """Return the value of that name where it is constant."""

    def value(self, name: str) -> relax.Expr:
        """Return what the value of that name is."""

    def give(self, name: str, value: relax.Expr) -> None:
        """Make ``name`` a name of that value."""

    def undecided(self, name: str) -> str:
        """Return a text that says on what a value that is not known depends, and what the user can do."""


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def convert_if(scope: Scope, name: str, node: onnx.NodeProto) -> None:
    """Convert the branch that is taken."""
    condition = _condition(scope, node.input[0])
    if condition is None:
        raise ValueError(f"a branch is chosen {scope.undecided(node.input[0])}")
    branch = _attributes(node)["then_branch" if condition else "else_branch"]
    body = inline(branch, f"{name}/")
    scope.run(body)
    _give_all(scope, node.output, body.outputs)


def convert_loop(scope: Scope, name: str, node: onnx.NodeProto) -> None:
    """Convert the body once for each round."""
    body = _attributes(node)["body"]
    trips, condition, *states = [*node.input, "", ""][: max(2, len(node.input))]
    rounds = scope.known(trips) if trips else None
    if trips and rounds is None:
        raise ValueError(f"the number of rounds is decided {scope.undecided(trips)}")
    limit = None if rounds is None else int(rounds.reshape(()))
    go = _condition(scope, condition) if condition else True
    emitted: list[list[str]] = [[] for _ in node.output[len(states) :]]
    index = 0
    while go and (limit is None or index < limit):
        _check_rounds(index)
        prefix = f"{name}/{index}/"
        scope.give(f"{prefix}round", constant(np.array(index, np.int64)))
        scope.give(f"{prefix}condition", constant(np.array(True)))
        given = [f"{prefix}round", f"{prefix}condition", *states]
        done = _round(scope, body, prefix, given, len(emitted))
        go = _condition(scope, done[0])
        if go is None:
            raise ValueError(f"the number of rounds is decided {scope.undecided(done[0])}")
        states = done[1 : 1 + len(states)]
        for values, value in zip(emitted, done[1 + len(states) :], strict=True):
            values.append(value)
        index += 1
    if go is None:
        raise ValueError(f"whether there is a round at all is decided {scope.undecided(condition)}")
    _give_all(scope, node.output, states)
    _give_stacked(
        scope, node.output[len(states) :], emitted, [0] * len(emitted), reverse=[False] * len(emitted)
    )


def convert_scan(scope: Scope, name: str, node: onnx.NodeProto) -> None:
    """Convert the body once for each slice of what is scanned."""
    if scope.opset < 9:
        raise ValueError("Scan of operator sets before 9, with a batch axis of its own, is not supported")
    attributes = _attributes(node)
    body, count = attributes["body"], attributes["num_scan_inputs"]
    states, scanned = list(node.input[: len(node.input) - count]), node.input[len(node.input) - count :]
    outputs = len(node.output) - len(states)
    axes = attributes.get("scan_input_axes", [0] * count)
    backwards = attributes.get("scan_input_directions", [0] * count)
    lengths = {shape_of(scope.value(name))[axis] for name, axis in zip(scanned, axes, strict=True)}
    if len(lengths) != 1:
        raise ValueError(f"what is scanned has different lengths: {sorted(lengths)}")
    (length,) = lengths
    emitted: list[list[str]] = [[] for _ in range(outputs)]
    for index in range(length):
        _check_rounds(index)
        prefix = f"{name}/{index}/"
        for place, (value, axis, backward) in enumerate(zip(scanned, axes, backwards, strict=True)):
            position = length - 1 - index if backward else index
            taken = relax.op.take(scope.value(value), relax.const(position, "int64"), axis=axis)
            scope.give(f"{prefix}slice{place}", taken)
        given = [*states, *(f"{prefix}slice{place}" for place in range(count))]
        done = _round(scope, body, prefix, given, outputs)
        states = done[: len(states)]
        for values, value in zip(emitted, done[len(states) :], strict=True):
            values.append(value)
    _give_all(scope, node.output, states)
    _give_stacked(
        scope,
        node.output[len(states) :],
        emitted,
        attributes.get("scan_output_axes", [0] * outputs),
        [bool(way) for way in attributes.get("scan_output_directions", [0] * outputs)],
    )


CONTROL_FLOW: dict[str, Callable[[Scope, str, onnx.NodeProto], None]] = {
    "If": convert_if,
    "Loop": convert_loop,
    "Scan": convert_scan,
}


def _round(scope: Scope, body: onnx.GraphProto, prefix: str, given: Sequence[str], emitted: int) -> list[str]:
    """Convert the body once; return the names of its outputs."""
    if len(given) != len(body.input):
        raise ValueError(f"the body has {len(body.input)} inputs, and {len(given)} are given")
    inlined = inline(body, prefix, {value.name: name for value, name in zip(body.input, given, strict=True)})
    scope.run(inlined)
    return inlined.outputs


def _check_rounds(index: int) -> None:
    if index == MOST_ROUNDS:
        raise ValueError(
            f"more than {MOST_ROUNDS} rounds, each of which becomes code of its own, are not supported"
        )


def _condition(scope: Scope, name: str) -> bool | None:
    value = scope.known(name)
    return None if value is None else bool(value.reshape(()))


def _give_all(scope: Scope, names: Sequence[str], values: Sequence[str]) -> None:
    for name, value in zip(names, values, strict=False):
        if name:
            scope.give(name, scope.value(value))


def _give_stacked(
    scope: Scope,
    names: Sequence[str],
    values: Sequence[list[str]],
    axes: Sequence[int],
    reverse: Sequence[bool],
) -> None:
    """Give each name its values of all rounds, along a new axis."""
    for name, rounds, axis, backward in zip(names, values, axes, reverse, strict=True):
        if not name:
            continue
        if not rounds:
            raise ValueError(f"{name!r} has a value of each round, and there is no round")
        ordered = [scope.value(value) for value in (reversed(rounds) if backward else rounds)]
        scope.give(name, relax.op.stack(ordered, axis=axis))
