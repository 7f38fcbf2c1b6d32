"""Where a model may end before what cannot be compiled: the end of messages about such nodes.

boxes, scores -> Slice -> NonMaxSuppression -> Gather -> detections     end it at: boxes, scores
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from .graph import Graph, inputs_of, reads, real_inputs

DATA_DEPENDENT = frozenset({"Compress", "MelWeightMatrix", "NonMaxSuppression", "NonZero", "Range", "Unique"})
"""Operators whose results have a shape that only the data decide."""

REFUSED = DATA_DEPENDENT - {"Compress"}
"""Those that can only be folded. Of a constant condition Compress takes what is known, whatever its data are."""

SELECTING = frozenset(
    {
        "Cast",
        "Expand",
        "Flatten",
        "Gather",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "Less",
        "LessOrEqual",
        "Not",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators that only move, take or compare values: behind a cut they are easily done by the caller."""

FEW = 3
"""A cut at so many values is shown as it is."""

SHOWN = 6


def where_to_cut(graph: Graph, culprit: onnx.NodeProto) -> str:
    """Return the end of a message that proposes to end the model before the node; empty where nothing can be named."""
    names = cut_points(graph, culprit)
    if not names:
        return ""
    shown = ",".join(names[:SHOWN]) + (",..." if len(names) > SHOWN else "")
    return f"; to leave such postprocessing to the application, end the model before it: --outputs {shown}"


def undecided(graph: Graph, name: str) -> str:
    """Return the end of a message on a value that must be known at import: what decides it, and what to do."""
    inputs = inputs_of(graph, name)
    if not inputs:
        return "only while the model runs, and control flow must be decided before"
    shown = ", ".join(map(repr, inputs))
    return (
        f"by the input{'s' if len(inputs) > 1 else ''} {shown} while the model runs; bind it to a value "
        f"(--bind {inputs[0]}=VALUE) or end the model before (--outputs)"
    )


def cut_points(graph: Graph, culprit: onnx.NodeProto) -> list[str]:
    """Return the computed values at which a graph can end before a node and all that is of its kind.

    They are what those nodes, and all behind them, read from the rest of the graph, and outputs that do not depend on
    them. Where these are many, the cut moves forward over operators that only select.
    """
    givers = {output: node for node in graph.node for output in node.output if output}
    computed = _computed(graph)
    behind: set[str] = set()
    frontier: dict[str, None] = {}
    for node in graph.node:
        values = list(reads(node))
        if node is culprit or node.op_type in DATA_DEPENDENT or any(value in behind for value in values):
            behind.update(output for output in node.output if output)
            frontier.update(dict.fromkeys(value for value in values if value in computed))
    frontier.update(dict.fromkeys(name for name in graph.output if name in computed))
    found = [name for name in frontier if name not in behind and name in givers]
    while len(found) > FEW:
        moved = _moved(found, givers, computed, graph.output)
        if moved == found:
            break
        found = moved
    return found


def _computed(graph: Graph) -> set[str]:
    """Return the names of the values that depend on an input's data, and not on its shape alone."""
    computed = {value.name for value in real_inputs(graph)}
    for node in graph.node:
        if node.op_type not in ("Shape", "Size") and any(name in computed for name in reads(node)):
            computed.update(output for output in node.output if output)
    return computed


def _moved(
    names: Iterable[str], givers: dict[str, onnx.NodeProto], computed: set[str], outputs: Iterable[str]
) -> list[str]:
    """Return the cut with each value that was only selected replaced by what it was selected from."""
    keep = set(outputs)
    moved: dict[str, None] = {}
    for name in names:
        node = givers.get(name)
        if node is None or node.op_type not in SELECTING or name in keep:
            moved[name] = None
        else:
            before = [value for value in reads(node) if value in computed]
            moved.update(dict.fromkeys(value if value in givers else name for value in before or [name]))
    return list(moved)
