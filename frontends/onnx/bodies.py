"""Operators that ONNX, or onnxruntime (``contrib/``), defines by a body of other operators, and TFLite's.

    y = Swish(x)  -->  s = Sigmoid(x); y = Mul(x, s)

A model's own functions are inlined before the import, so each node in them has a layer record of its own. The body
of an operator is expanded when its node's turn comes, since it may depend on dtypes and ranks; all of it bears the
node's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper
from onnx.inliner import inline_local_functions, inline_selected_functions
from tvm import relax

from ...errors import TvmqError
from ...passes.hub.graph import dtype_of, is_constant, shape_of, to_numpy
from ..tflite import DOMAIN as TFLITE
from .contrib.body import OPSET as CONTRIB_OPSET
from .contrib.body import Input
from .contrib.table import CONTRIB, contrib_body
from .functions import check_growth

STANDARD: frozenset[str] = frozenset(
    {
        "Attention",
        "BlackmanWindow",
        "CausalConvWithState",
        "CenterCropPad",
        "HammingWindow",
        "HannWindow",
        "NegativeLogLikelihoodLoss",
        "RMSNormalization",
        "SoftmaxCrossEntropyLoss",
        "SwiGLU",
        "Swish",
    }
)
"""Operators of the standard that are imported as their bodies."""


def has_body(domain: str, op_type: str) -> bool:
    """Tell whether the operator is imported as its body."""
    if domain == TFLITE:
        # Here and below not before there is one: it imports the schema's package.
        from ..tflite.body import has_tflite_body

        return has_tflite_body(op_type)
    return op_type in CONTRIB.get(domain, ()) or (domain in ("", "ai.onnx") and op_type in STANDARD)


def opset_of(proto: onnx.ModelProto | onnx.FunctionProto) -> int:
    """Return the version of the standard operator set that the model or function asks for; 1 where it asks for none."""
    return next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 1)


def with_functions_inlined(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without functions of its own: each call of one is replaced by its nodes.

    Raises
    ------
    TvmqError : the functions cannot be inlined, such as where one asks for another version of the operators, or come to
        more nodes than a model may have.
    """
    if not proto.functions:
        return proto
    check_growth(proto)
    try:
        return inline_local_functions(proto)
    except Exception as error:  # RuntimeError, ValidationError, ...: whatever ONNX's C++ raises
        raise TvmqError(f"the model's functions cannot be inlined: {str(error).splitlines()[0]}") from error


def expanded(
    node: onnx.NodeProto, inputs: Sequence[relax.Expr | None], opset: int
) -> tuple[list[onnx.NodeProto], int]:
    """Return the nodes of the body of an operator that has one, and the version of the operator set they are in.

    They read the node's inputs and write its outputs; other values have names that no other node's body has.

    Parameters
    ----------
    inputs : what the node reads, in order; None where an input is left out.

    Raises
    ------
    ValueError : attributes, dtypes or ranks for which the operator has no body.
    """
    names = [f"input_{position}" if value is not None else "" for position, value in enumerate(inputs)]
    call = onnx.NodeProto()
    call.CopyFrom(node)
    call.input[:] = names
    known = {name: _input(value) for name, value in zip(names, inputs, strict=True) if value is not None}
    if node.domain == TFLITE:
        from ..tflite.body import tflite_body

        body, opset = tflite_body(call, known), CONTRIB_OPSET
    elif node.op_type in CONTRIB.get(node.domain, ()):
        body, opset = contrib_body(call, known), CONTRIB_OPSET
    else:
        body, opset = _standard_body(call, inputs, opset)
    outer = dict(zip(names, node.input, strict=True)) | {name: name for name in node.output}
    for inner in body:
        _rename(inner, outer, prefix=f"{next(filter(None, node.output))}/")
    return body, opset


def _standard_body(
    call: onnx.NodeProto, inputs: Sequence[relax.Expr | None], opset: int
) -> tuple[list[onnx.NodeProto], int]:
    schema = _schema_with_body(call.op_type, opset)
    _set_defaults(call, schema)
    function = onnx.FunctionProto()
    if schema.has_function:
        version = _nearest(opset, schema.function_opset_versions)
        function.ParseFromString(schema.get_function_with_opset_version(version))
    else:
        version = _nearest(opset, schema.context_dependent_function_opset_versions)
        types = [_type(value).SerializeToString() if value is not None else b"" for value in inputs]
        function.ParseFromString(
            schema.get_context_dependent_function_with_opset_version(version, call.SerializeToString(), types)
        )
    if not function.node:
        raise ValueError("ONNX defines no body of it for these attributes and dtypes")
    # By its own name the inliner would take ONNX's function, and want to know the types of inputs left out.
    call.domain = function.domain = "body"
    results = [onnx.ValueInfoProto(name=name) for name in call.output if name]
    fed = [helper.make_empty_tensor_value_info(name) for name in call.input if name]
    model = helper.make_model(
        helper.make_graph([call], "body", fed, results),
        opset_imports=[*function.opset_import, helper.make_opsetid("body", 1)],
        functions=[function],
    )
    body = inline_selected_functions(model, [("body", call.op_type)]).graph.node
    return list(body), opset_of(function)


def _schema_with_body(op_type: str, opset: int) -> Any:
    """Return the definition of the operator in that version of the standard, or in the first that gives a body."""
    versions: list[Any] = [
        schema
        for schema in defs.get_all_schemas_with_history()
        if (schema.domain, schema.name) == ("", op_type)
    ]
    with_body = [
        schema for schema in versions if schema.has_function or schema.has_context_dependent_function
    ]
    return max(
        (schema for schema in with_body if schema.since_version <= opset),
        key=lambda schema: schema.since_version,
        default=min(with_body, key=lambda schema: schema.since_version),
    )


def _nearest(opset: int, versions: Sequence[int]) -> int:
    """Return the latest of the versions up to ``opset``, or the first."""
    return max((version for version in versions if version <= opset), default=min(versions))


def _input(value: relax.Expr) -> Input:
    dtype = "int64" if isinstance(value, relax.ShapeExpr) else dtype_of(value)
    return Input(_shape(value), dtype, to_numpy(value) if is_constant(value) else None)


def _shape(value: relax.Expr) -> tuple[int, ...]:
    return (len(value.values),) if isinstance(value, relax.ShapeExpr) else shape_of(value)


def _type(value: relax.Expr) -> onnx.TypeProto:
    dtype = "int64" if isinstance(value, relax.ShapeExpr) else dtype_of(value)
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), _shape(value))


def _set_defaults(node: onnx.NodeProto, schema: Any) -> None:
    """Write the attributes' defaults out: the inliner knows only those that a node has."""
    given = {attribute.name for attribute in node.attribute}
    for name, attribute in schema.attributes.items():
        if name not in given and attribute.default_value.name:
            node.attribute.append(attribute.default_value)


def _rename(node: onnx.NodeProto, names: dict[str, str], prefix: str) -> None:
    for values in (node.input, node.output):
        values[:] = [names.get(value, prefix + value) if value else "" for value in values]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _rename(inner, names, prefix)
            for value in (*graph.input, *graph.output, *graph.initializer):
                value.name = names.get(value.name, prefix + value.name)
