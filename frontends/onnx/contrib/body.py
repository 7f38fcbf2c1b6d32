"""Nodes in the making: what every body of an operator is written with.

body("Mul", x, body("Sigmoid", x))  -->  body_0 = Sigmoid(x); body_1 = Mul(x, body_0)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 20
"""Version of the standard operator set that the bodies are written in."""


@dataclass(frozen=True)
class Input:
    """What is known of an operator's input.

    Attributes
    ----------
    value : its numbers, where it is constant.
    """

    shape: tuple[int, ...]
    dtype: str
    value: np.ndarray | None = None


class Body:
    """Nodes in the making.

    Parameters
    ----------
    inputs : the operator's, by name.
    """

    def __init__(self, inputs: Mapping[str, Input]):
        self.nodes: list[onnx.NodeProto] = []
        self.inputs = dict(inputs)
        self.shapes = {name: given.shape for name, given in inputs.items()}

    def __call__(self, op_type: str, *inputs: str, **attributes) -> str:
        """Add a node; return the name of its first output."""
        return self.several(op_type, 1, *inputs, **attributes)[0]

    def several(self, op_type: str, outputs: int, *inputs: str, **attributes) -> list[str]:
        """Add a node; return the names of its first outputs."""
        names = [f"body_{len(self.nodes)}" + (f"_{place}" if place else "") for place in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, names, **attributes))
        return names

    def describe(self, name: str, shape: tuple[int, ...], dtype: str) -> str:
        """Note shape and dtype of a value that nodes have made, as of an input; return its name."""
        self.inputs[name], self.shapes[name] = Input(shape, dtype), shape
        return name

    def split(self, value: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Return parts of a value along an axis."""
        return self.several("Split", len(sizes), value, self.constant(sizes), axis=axis)

    def reshape(self, value: str, *shape: int) -> str:
        """Return the value in another shape."""
        return self("Reshape", value, self.constant(shape))

    def constant(self, value, dtype: str = "int64") -> str:
        """Add a constant."""
        return self("Constant", value=numpy_helper.from_array(np.asarray(value, dtype)))

    def number(self, value: float, like: str) -> str:
        """Add a scalar of another value's dtype."""
        return self.like(np.asarray(value), like)

    def like(self, values: np.ndarray, like: str) -> str:
        """Add a constant of another value's dtype."""
        return self("CastLike", self.constant(values, "float32"), like)

    def sum(self, *values: str) -> str:
        """Add up the values that are given."""
        first, *rest = [value for value in values if value]
        for value in rest:
            first = self("Add", first, value)
        return first

    def expect(self, value: str, what: str, dtypes: Sequence[str], *shapes: tuple[int | str, ...]) -> None:
        """Raise ``ValueError`` unless an input is of one of the dtypes and shapes; a name in a shape is any extent."""
        given = self.inputs[value]
        if given.dtype not in dtypes:
            raise ValueError(f"its {what} is {given.dtype}; expected {' or '.join(dtypes)}")
        for shape in shapes:
            pairs = zip(shape, given.shape, strict=False)
            if len(shape) == len(given.shape) and all(
                isinstance(one, str) or one == own for one, own in pairs
            ):
                return
        if shapes:
            wanted = " or ".join(f"[{','.join(map(str, shape))}]" for shape in shapes)
            raise ValueError(
                f"its {what} has the shape [{','.join(map(str, given.shape))}]; expected {wanted}"
            )


Write = Callable[..., "str | Iterable[str]"]
"""``(body, names of inputs, attributes by name) -> names of results``: what writes the body of an operator."""


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def written(
    body: Body, write: Write, node: onnx.NodeProto, attributes: Mapping[str, Any]
) -> list[onnx.NodeProto]:
    """Return nodes that compute what the node does, from its inputs to its outputs.

    Raises
    ------
    ValueError : inputs or attributes that the operator does not have, or an output that is not computed.
    """
    _check_call(write, len(node.input), attributes)
    try:
        found = write(body, *node.input, **attributes)
    except TypeError as error:  # an attribute of another kind, such as a text where a number belongs
        raise ValueError(f"an attribute is of the wrong kind ({error})") from error
    results = (found,) if isinstance(found, str) else tuple(found)
    for position, output in enumerate(node.output):
        if output:
            if not results[position : position + 1] or not results[position]:
                raise ValueError(f"its output {position} is not supported")
            body.nodes.append(helper.make_node("Identity", [results[position]], [output]))
    return body.nodes


def _check_call(write: Write, count: int, attributes: Mapping[str, object]) -> None:
    """Raise ``ValueError`` for attributes that an operator does not have or lacks, and for another number of inputs."""
    parameters = list(inspect.signature(write).parameters.values())[1:]
    places = [each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    needed = sum(each.default is each.empty for each in places)
    is_open = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    if count < needed or (count > len(places) and not is_open):
        limit = " or more" if is_open else f" to {len(places)}" if needed < len(places) else ""
        raise ValueError(f"it has {count} inputs; expected {needed}{limit}")
    own = {each.name: each for each in parameters if each.kind is each.KEYWORD_ONLY}
    if not any(each.kind is each.VAR_KEYWORD for each in parameters):
        for name in attributes:
            if name not in own:
                raise ValueError(f"attribute {name!r} is unknown; valid: {', '.join(sorted(own)) or 'none'}")
    for name, each in own.items():
        if each.default is each.empty and name not in attributes:
            raise ValueError(f"it lacks the attribute {name!r}")
