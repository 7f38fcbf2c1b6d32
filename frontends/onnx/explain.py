"""Why a node cannot be imported, in the words of ONNX's own checks where they find it.

    Conv(x) without a weight      --> Node has input size 1 not in range [min=2, max=3]       ONNX's words
    Conv(x, w) of other channels  --> The channel size of the data should equal ...           TVM's words

TVM's importer takes most of what a node says for granted, and then meets a missing value or attribute somewhere
inside. ONNX's checker knows what each operator takes, and its shape inference which shapes and dtypes fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper
from tvm import relax

from ...passes.hub.graph import dtype_of, is_constant, shape_of, to_numpy
from ...passes.hub.tvm_messages import plain
from .converters.table import CONVERTERS

Option = onnx.defs.OpSchema.FormalParameterOption

INTERNAL = (AttributeError, IndexError, KeyError, NameError)
"""What Python raises where TVM's importer did not expect what it met: its words mean nothing to a user."""

INTERNAL_TEXT = re.compile(
    r"^$|'\w+' object|NoneType|operand type|positional argument|keyword argument|Mismatched type on argument"
)
"""The same of assertions and type errors, which TVM raises with words of its own too."""

AXES = frozenset({"axes", "axis", "batch_dims", "perm"})
"""Attributes that count axes; not every converter looks whether there are so many."""

MOST_AXES = 64
"""More than any tensor has."""

MOST_ELEMENTS = 1024
"""Of constants that shape inference is told; axes, pads and shapes have fewer."""


def reason(node: onnx.NodeProto, values: Mapping[str, relax.Expr], opset: int, error: BaseException) -> str:
    """Return in one line why a node cannot be imported.

    Parameters
    ----------
    values : what each of the node's inputs is, by name.
    opset : version of the standard operator set.
    error : what the conversion raised.
    """
    unclear = isinstance(error, AssertionError | TypeError | NotImplementedError) and INTERNAL_TEXT.search(
        str(error)
    )
    if not isinstance(error, INTERNAL) and not unclear:
        return plain(error)
    found = _checked(node, opset) or _inferred(node, values, opset)
    return found or "its inputs or attributes are none that the importer knows"


def refuse_wrong_inputs(node: onnx.NodeProto, values: Mapping[str, relax.Expr], opset: int) -> None:
    """Raise ``ValueError`` for an axis that there is not, and for an input that is missing or of another kind.

    What TVM's own converters do with those is not always an exception: they can go on for ever, end the process, or
    make what fails far behind the import. ``roi`` of Resize, which the standard demands, exporters leave out.
    """
    axes = [attribute for attribute in node.attribute if attribute.name in AXES]
    for axis in (axis for attribute in axes for axis in (attribute.i, *attribute.ints)):
        if abs(axis) > MOST_AXES:  # ONNX's shape inference cuts it to 32 bits, and so may miss it
            raise ValueError(f"it has no axis {axis}")
    if (axes or node.op_type.startswith("Reduce")) and (found := _inferred(node, values, opset)):
        raise ValueError(found)
    if node.domain not in ("", "ai.onnx") or node.op_type not in CONVERTERS:
        return
    try:
        formals = onnx.defs.get_schema(node.op_type, opset).inputs
    except onnx.defs.SchemaError:
        return
    for place, formal in enumerate(formals[:1] if node.op_type == "Resize" else formals):
        given = list(node.input[place:])
        if formal.option != Option.Variadic:
            given = given[:1] or [""]
        for name in given:
            if name:
                _refuse_another_kind(formal, values[name])
            elif formal.option != Option.Optional:
                raise ValueError(f"its input {formal.name!r} is missing")


def _refuse_another_kind(formal: onnx.defs.OpSchema.FormalParameter, value: relax.Expr) -> None:
    """Raise ``ValueError`` for a tensor in place of a sequence, and the other way round."""
    is_tensor = isinstance(value.ty, relax.TensorType | relax.ShapeType)
    if is_tensor and not any(kind.startswith("tensor(") for kind in formal.types):
        raise ValueError(f"its input {formal.name!r} must be a sequence and is a tensor")
    if not is_tensor and all(kind.startswith("tensor(") for kind in formal.types):
        raise ValueError(f"its input {formal.name!r} must be a tensor and is a sequence")


def _checked(node: onnx.NodeProto, opset: int) -> str:
    """Return what ONNX's checker says of the node's inputs and attributes; empty where it finds nothing."""
    if node.domain not in ("", "ai.onnx"):
        return ""
    context = onnx.checker.C.CheckerContext()
    context.ir_version = onnx.IR_VERSION
    context.opset_imports = {"": opset}
    try:
        onnx.checker.check_node(node, context)
    except (onnx.checker.ValidationError, TypeError, ValueError) as error:
        return _tidy(str(error))
    return ""


def _inferred(node: onnx.NodeProto, values: Mapping[str, relax.Expr], opset: int) -> str:
    """Return what ONNX's shape inference says against the shapes and dtypes of the inputs."""
    parts = next((attribute.i for attribute in node.attribute if attribute.name == "num_outputs"), None)
    if node.op_type == "Split" and parts not in (None, len(node.output)):
        return f"num_outputs is {parts}, and it has {len(node.output)}"  # it would end the process
    types, data = {}, {}
    try:
        for name in node.input:
            value = values.get(name)
            if name and isinstance(value, relax.Expr) and isinstance(value.ty, relax.TensorType):
                kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype_of(value)))
                types[name] = helper.make_tensor_type_proto(kind, shape_of(value))
                if is_constant(value) and to_numpy(value).size <= MOST_ELEMENTS:
                    data[name] = onnx.numpy_helper.from_array(to_numpy(value))
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
        imports = [helper.make_opsetid(node.domain, opset)]
        onnx.shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=imports)
    except onnx.shape_inference.InferenceError as error:
        return _tidy(str(error))
    except Exception:  # it does not know this operator or these types, and so says nothing about the node
        return ""
    return ""


def _tidy(text: str) -> str:
    """Return the first sentence without ONNX's tags and the context that repeats the node."""
    text = text.split("==> Context:")[0]
    text = re.sub(r"\[(?:ShapeInferenceError|TypeInferenceError)\]\s*|\(op_type:[^)]*\):?\s*", "", text)
    text = re.sub(r"^[^:]*\.(?:cc|cpp|h):\d+:?\s*\S*:?\s*", "", text.strip())
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else ""
