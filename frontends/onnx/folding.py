"""Arithmetic on shapes, done at import: ``Shape -> Gather -> Concat`` becomes the constant that it is.

Every shape is static here, so what exporters compute from shapes is constant. TVM folds some of these nodes
and refuses others; ONNX's own evaluator knows nearly all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator
from tvm import relax

from ...passes.hub.graph import constant, is_constant, shape_of, to_numpy
from .cut_points import DATA_DEPENDENT
from .low_bit import dequantized_blocks
from .tensors import is_plain

FOLDED: frozenset[str] = frozenset(
    {
        "Abs",
        "Add",
        "And",
        "ArgMax",
        "ArgMin",
        "BitShift",
        "Cast",
        "CastLike",
        "Ceil",
        "Clip",
        "Compress",
        "Concat",
        "ConstantOfShape",
        "Cos",
        "CumSum",
        "Div",
        "Equal",
        "Exp",
        "Expand",
        "EyeLike",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherND",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
        "Log",
        "Max",
        "Mean",
        "MelWeightMatrix",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "NonMaxSuppression",
        "NonZero",
        "Not",
        "OneHot",
        "Or",
        "Pad",
        "Pow",
        "Range",
        "Reciprocal",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "Reshape",
        "Round",
        "ScatterElements",
        "ScatterND",
        "Sign",
        "Sin",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tile",
        "TopK",
        "Transpose",
        "Trilu",
        "Unique",
        "Unsqueeze",
        "Where",
        "Xor",
    }
)
"""Operators that are evaluated where all their inputs are constant: what shapes, grids and masks are made of. Others
are left to the compiler, since ONNX's evaluator is wrong here and there; and QuantizeLinear and DequantizeLinear must
stay, because constants behind those are quantized weights."""

LARGEST = 256
"""Elements: more than any shape has, and too few to be a weight that should stay as the file stores it."""

LARGEST_COMPUTED = 2**22
"""Elements of what is computed from shapes and such small constants: grids of anchors, masks of attention."""


class Folding:
    """What is folded of one graph."""

    def __init__(self) -> None:
        self._computed: set[str] = set()

    def folded(
        self, node: onnx.NodeProto, values: Mapping[str, relax.Expr], opset: int
    ) -> dict[str, relax.Expr]:
        """Return the node's outputs as constants; empty where it cannot be folded.

        Parameters
        ----------
        values : what each of the node's inputs is, by name.
        opset : version of the standard operator set.
        """
        if node.domain not in ("", "ai.onnx"):
            return {}
        if node.op_type in ("Shape", "Size"):
            results = [_shape(node, values[node.input[0]])]
        elif node.op_type == "DequantizeLinear":
            results = dequantized_blocks(
                node, [_constant(values[name]) if name else None for name in node.input]
            )
        else:
            results = self._evaluated(node, values, opset)
        names = [name for name in node.output if name]
        if not results or len(results) != len(node.output):
            return {}
        self._computed.update(names)
        return {name: constant(value) for name, value in zip(node.output, results, strict=True) if name}

    def _evaluated(
        self, node: onnx.NodeProto, values: Mapping[str, relax.Expr], opset: int
    ) -> list[np.ndarray]:
        """Return the outputs that ONNX's evaluator gives; empty where it is not to be asked, or does not know."""
        if node.op_type not in FOLDED:
            return []
        arrays = {name: _constant(values[name]) for name in node.input if name}
        known = {name: array for name, array in arrays.items() if array is not None}
        if len(known) < len(arrays) or any(not self._is_small(name, array) for name, array in known.items()):
            return []
        if not _fits(node, known, opset):
            return []
        try:
            results = ReferenceEvaluator(node, opsets={"": opset}).run(None, known)
        # It raises whatever it meets. TVM's importer, which is asked then, says what is wrong with the node.
        except Exception:
            return []
        if not all(
            isinstance(result, np.ndarray | np.generic) and is_plain(result.dtype) for result in results
        ):
            return []  # a sequence, or text
        return [np.asarray(result) for result in results]

    def _is_small(self, name: str, array: np.ndarray) -> bool:
        return array.size <= (LARGEST_COMPUTED if name in self._computed else LARGEST)


def _fits(node: onnx.NodeProto, arrays: Mapping[str, np.ndarray], opset: int) -> bool:
    """Tell whether the outputs are small enough, before anything is evaluated: one node can ask for terabytes."""
    types = {
        name: helper.make_tensor_type_proto(_data_type(array), array.shape) for name, array in arrays.items()
    }
    data: dict[str, Any] = {
        name: onnx.numpy_helper.from_array(array) for name, array in arrays.items() if array.size <= LARGEST
    }
    imports = [helper.make_opsetid("", opset)]
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
        found = onnx.shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=imports)
    except Exception:  # whatever the node is at fault for, TVM's importer says
        return False
    return all(_is_bounded(node, found[name]) for name in node.output if name)


def _is_bounded(node: onnx.NodeProto, kind: onnx.TypeProto) -> bool:
    """Tell whether an output of this type is a tensor of at most ``LARGEST_COMPUTED`` elements."""
    if not kind.HasField("tensor_type"):
        return False
    extents = kind.tensor_type.shape.dim
    if not kind.tensor_type.HasField("shape") or not all(extent.HasField("dim_value") for extent in extents):
        return node.op_type in DATA_DEPENDENT  # these take from their input, and give no more than it has
    return math.prod(extent.dim_value for extent in extents) <= LARGEST_COMPUTED


def _data_type(array: np.ndarray) -> int:
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def _shape(node: onnx.NodeProto, value: relax.Expr) -> np.ndarray:
    shape = shape_of(value)
    if node.op_type == "Size":
        return np.array(math.prod(shape), np.int64)
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    return np.array(shape[bounds.get("start", 0) : bounds.get("end")], np.int64)


def _constant(value: relax.Expr) -> np.ndarray | None:
    if isinstance(value, relax.ShapeExpr):
        return np.array([int(extent) for extent in value.values], np.int64)
    return to_numpy(value) if is_constant(value) else None
