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

from ...passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
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
    types = {name: (array.dtype.name, array.shape) for name, array in arrays.items()}
    found = _inferred(node, types, arrays, opset)
    return bool(found) and all(_is_bounded(node, found[name]) for name in node.output if name)


def inferred_sizes(node: onnx.NodeProto, values: Mapping[str, relax.Expr], opset: int) -> list[int] | None:
    """Return the bytes of each output of a node of constants; None where ONNX does not say."""
    if node.domain not in ("", "ai.onnx"):
        return None
    names = [name for name in node.input if name]
    if not all(isinstance(values[name].ty, relax.TensorType | relax.ShapeType) for name in names):
        return None  # a sequence
    types = {
        name: ("int64", (len(value.values),))
        if isinstance(value := values[name], relax.ShapeExpr)
        else (dtype_of(value), shape_of(value))
        for name in names
    }
    small = [name for name, (_, shape) in types.items() if math.prod(shape) <= LARGEST]
    arrays = {name: array for name in small if (array := _constant(values[name])) is not None}
    found = _inferred(node, types, arrays, opset)
    sizes = [_size_of_type(found.get(name)) for name in node.output if name]
    return None if any(size is None for size in sizes) else [size for size in sizes if size is not None]


def size_of(value: relax.Expr) -> int:
    """Return the bytes of a tensor of static shape; 0 for what is none."""
    if isinstance(value, relax.ShapeExpr):
        return 8 * len(value.values)
    if not isinstance(value, relax.Expr) or not isinstance(value.ty, relax.TensorType):
        return 0
    return math.prod(shape_of(value)) * np.dtype(dtype_of(value)).itemsize


def _inferred(
    node: onnx.NodeProto,
    types: Mapping[str, tuple[str, tuple[int, ...]]],
    arrays: Mapping[str, np.ndarray],
    opset: int,
) -> dict[str, onnx.TypeProto]:
    """Return what ONNX knows of the types of the outputs; nothing where the node is at fault.

    Parameters
    ----------
    types : dtype and shape of each input.
    arrays : the inputs that are constant.
    """
    try:
        kinds = {
            name: helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for name, (dtype, shape) in types.items()
        }
        data: dict[str, Any] = {
            name: onnx.numpy_helper.from_array(array)
            for name, array in arrays.items()
            if array.size <= LARGEST
        }
        schema = onnx.defs.get_schema(node.op_type, opset)
        imports = [helper.make_opsetid("", opset)]
        found = onnx.shape_inference.infer_node_outputs(schema, node, kinds, data, opset_imports=imports)
    except Exception:  # whatever the node is at fault for, TVM's importer says
        return {}
    return dict(found)


def _is_bounded(node: onnx.NodeProto, kind: onnx.TypeProto) -> bool:
    """Tell whether an output of this type is a tensor of at most ``LARGEST_COMPUTED`` elements."""
    if not kind.HasField("tensor_type"):
        return False
    shape = _shape_of_type(kind)
    if shape is None:
        return node.op_type in DATA_DEPENDENT  # these take from their input, and give no more than it has
    return math.prod(shape) <= LARGEST_COMPUTED


def _shape_of_type(kind: onnx.TypeProto) -> list[int] | None:
    extents = kind.tensor_type.shape.dim
    if not kind.tensor_type.HasField("shape") or not all(extent.HasField("dim_value") for extent in extents):
        return None
    return [extent.dim_value for extent in extents]


def _size_of_type(kind: onnx.TypeProto | None) -> int | None:
    shape = None if kind is None else _shape_of_type(kind)
    if kind is None or shape is None:
        return None
    return math.prod(shape) * helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type).itemsize


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
