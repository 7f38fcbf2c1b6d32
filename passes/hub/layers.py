"""What was decided for each layer: the record that every report shows.

A module carries its records as JSON in the attribute ``tvmq.layers``, so they survive any pass and land in the
package's ``mod.json``.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvm import IRModule

ATTRIBUTE = "tvmq.layers"


@dataclass(frozen=True)
class Layer:
    """One node of the user's ONNX graph.

    Attributes
    ----------
    name : the ONNX node's name (its first output's name where the node has none).
    op : the ONNX operator type, such as ``"Conv"``.
    status : ``"int8"`` or another scheme where it runs on integers, ``"float"``, or ``"folded"`` into another node.
    reason : why it stays float; empty otherwise.
    details : scales, zero points, weight sizes and the like, JSON values only.
    """

    name: str
    op: str
    status: str = "float"
    reason: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def get_layers(mod: IRModule) -> list[Layer]:
    """Return the module's layer records, in graph order; empty where it has none."""
    attrs = mod.attrs
    if attrs is None or ATTRIBUTE not in attrs:
        return []
    return [Layer(**record) for record in json.loads(str(attrs[ATTRIBUTE]))]


def with_layers(mod: IRModule, layers: list[Layer]) -> IRModule:
    """Return the module with these layer records in place of its own."""
    return mod.with_attr(ATTRIBUTE, json.dumps([dataclasses.asdict(layer) for layer in layers]))


def free_name(base: str, taken: set[str]) -> str:
    """Return a name that is not taken, and take it: the base itself, or with ``_2``, ``_3`` and so on behind it."""
    name, count = base, 1
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    taken.add(name)
    return name
