"""Arithmetic on shapes, done at import: ``Shape -> Gather -> Concat`` becomes the constant that it is.

Every shape is static here, so what exporters compute from shapes is constant. TVM folds some of these nodes
and refuses others; ONNX's own evaluator knows all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from tvm import relax

from ..passes.hub.graph import constant, is_constant, shape_of, to_numpy

FOLDED: frozenset[str] = frozenset(
    {
        "Add",
        "And",
        "Cast",
        "Ceil",
        "Concat",
        "ConstantOfShape",
        "Div",
        "Equal",
        "Expand",
        "Floor",
        "Gather",
        "Greater",
        "Less",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "Range",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "Reshape",
        "Size",
        "Slice",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Unsqueeze",
        "Where",
    }
)
"""Operators that are evaluated where all their inputs are constant. QuantizeLinear and DequantizeLinear are
not among them: constants behind those are quantized weights."""

DATA_DEPENDENT: frozenset[str] = frozenset(
    {"MelWeightMatrix", "NonMaxSuppression", "NonZero", "Range", "Unique"}
)
"""Operators whose result has a shape that their data decide: they are evaluated whatever their size, or refused."""

LARGEST = 256
"""Elements: more than any shape has, and too few to be a weight that should stay as the file stores it."""


def folded(node: onnx.NodeProto, values: Mapping[str, relax.Expr], opset: int) -> dict[str, relax.Expr]:
    """Return the node's outputs as constants; empty where it cannot be folded.

    Parameters
    ----------
    values : what each of the node's inputs is, by name.
    opset : version of the standard operator set.
    """
    if node.domain not in ("", "ai.onnx"):
        return {}
    if node.op_type == "Shape":
        return {node.output[0]: constant(_shape(node, values[node.input[0]]))}
    if node.op_type in DATA_DEPENDENT:
        limit = math.inf
    elif node.op_type in FOLDED:
        limit = LARGEST
    else:
        return {}
    if (node.op_type, opset < 13) == ("Unsqueeze", True):
        return {}  # ONNX's evaluator fails on Unsqueeze's old form, which TVM folds
    arrays = {name: _constant(values[name]) for name in node.input if name}
    if any(array is None or array.size > limit for array in arrays.values()):
        return {}
    results = map(np.asarray, ReferenceEvaluator(node, opsets={"": opset}).run(None, arrays))
    constants = dict(zip(node.output, results, strict=True))
    if any(array.size > limit for array in constants.values()):
        return {}
    return {name: constant(array) for name, array in constants.items()}


def _shape(node: onnx.NodeProto, value: relax.Expr) -> np.ndarray:
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    return np.array(shape_of(value)[bounds.get("start", 0) : bounds.get("end")], np.int64)


def _constant(value: relax.Expr) -> np.ndarray | None:
    if isinstance(value, relax.ShapeExpr):
        return np.array([int(extent) for extent in value.values], np.int64)
    return to_numpy(value) if is_constant(value) else None
