"""onnxruntime's float operators, as its optimiser leaves them in files, and one of QONNX's, in terms of ONNX's own.

    QuickGelu(x)  -->  Mul(x, Sigmoid(Mul(alpha, x)))

Each function writes the body of one operator: it takes the names of the operator's inputs in order, ``""`` for one that
is left out, its attributes by name, and returns the names of its outputs. Definitions:
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

QONNX's one-bit quantizer is as Brevitas and FINN write it: https://github.com/fastmachinelearning/qonnx
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 20
"""Version of the standard operator set that the bodies are written in."""


class Body:
    """Nodes in the making.

    Parameters
    ----------
    shapes : of the operator's inputs, by name.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        self.nodes: list[onnx.NodeProto] = []
        self.shapes = shapes

    def __call__(self, op_type: str, *inputs: str, **attributes) -> str:
        """Add a node; return the name of its first output."""
        return self.several(op_type, 1, *inputs, **attributes)[0]

    def several(self, op_type: str, outputs: int, *inputs: str, **attributes) -> list[str]:
        """Add a node; return the names of its first outputs."""
        names = [f"body_{len(self.nodes)}" + (f"_{place}" if place else "") for place in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, names, **attributes))
        return names

    def constant(self, value, dtype: str = "int64") -> str:
        """Add a constant."""
        return self("Constant", value=numpy_helper.from_array(np.asarray(value, dtype)))

    def number(self, value: float, like: str) -> str:
        """Add a scalar of another value's dtype."""
        return self("CastLike", self.constant(value, "float32"), like)

    def sum(self, *values: str) -> str:
        """Add up the values that are given."""
        first, *rest = [value for value in values if value]
        for value in rest:
            first = self("Add", first, value)
        return first


def quick_gelu(body: Body, x: str, *, alpha: float = 1.702) -> str:
    return body("Mul", x, body("Sigmoid", body("Mul", body.number(alpha, x), x)))


def bipolar_quant(body: Body, x: str, scale: str) -> str:
    is_upper = body("GreaterOrEqual", x, body.number(0.0, x))
    return body("Where", is_upper, scale, body("Neg", scale))


def bias_gelu(body: Body, x: str, bias: str) -> str:
    return body("Gelu", body("Add", x, bias))


def fast_gelu(body: Body, x: str, bias: str = "") -> str:
    return body("Gelu", body.sum(x, bias), approximate="tanh")


def bias_add(body: Body, x: str, bias: str, skip: str) -> str:
    return body.sum(x, bias, skip)


def bias_softmax(body: Body, x: str, bias: str, *, axis: int = 1, is_inner_broadcast: int) -> str:
    rank, bias_rank = len(body.shapes[x]), len(body.shapes[bias])
    if is_inner_broadcast and bias_rank < rank:  # the bias has the outer axes, those behind them are missing
        bias = body("Unsqueeze", bias, body.constant(np.arange(bias_rank, rank)))
    flat = body("Flatten", body("Add", x, bias), axis=axis % rank)
    return body("Reshape", body("Softmax", flat, axis=1), body.constant(body.shapes[x]))


def skip_layer_normalization(
    body: Body, x: str, skip: str, gamma: str, beta: str = "", bias: str = "", *, epsilon: float = 1e-12
) -> tuple[str, ...]:
    total = body.sum(x, skip, bias)
    normalized = body("LayerNormalization", total, gamma, *([beta] if beta else []), epsilon=epsilon)
    return normalized, "", "", total


def simplified_layer_normalization(
    body: Body, x: str, scale: str, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> tuple[str, ...]:
    axes = body.constant(np.arange(axis % len(body.shapes[x]), len(body.shapes[x])))
    wide = body("Cast", x, to=stash_type)
    mean = body("ReduceMean", body("Mul", wide, wide), axes, keepdims=1)
    root = body("Sqrt", body("Add", mean, body.number(epsilon, mean)))
    normalized = body("Mul", body("CastLike", body("Div", wide, root), x), scale)
    return normalized, body("Reciprocal", root)


def skip_simplified_layer_normalization(
    body: Body, x: str, skip: str, gamma: str, bias: str = "", *, epsilon: float = 1e-12
) -> tuple[str, ...]:
    total = body.sum(x, skip, bias)
    body.shapes = {**body.shapes, total: body.shapes[x]}
    return simplified_layer_normalization(body, total, gamma, epsilon=epsilon)[0], "", "", total


def embed_layer_normalization(
    body: Body,
    ids: str,
    segments: str,
    words: str,
    positions: str,
    segment_table: str,
    gamma: str,
    beta: str,
    mask: str = "",
    position_ids: str = "",
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 1,
) -> tuple[str, ...]:
    if not position_ids:
        position_ids = body.constant(np.arange(body.shapes[ids][1])[None])
    parts = [body("Gather", words, ids), body("Gather", positions, position_ids)]
    if segments:
        parts.append(body("Gather", segment_table, segments))
    total = body.sum(*parts)
    normalized = body("LayerNormalization", total, gamma, beta, epsilon=epsilon)
    if mask:
        index = body("ReduceSum", mask, body.constant([1]), keepdims=0)
    else:
        index = body.constant(np.zeros(body.shapes[ids][0]), "int32")
    return normalized, index, total


def _activated(body: Body, x: str, name: bytes, parameters: Sequence[float]) -> str:
    """Apply an activation that onnxruntime has merged into the operator before it.

    Raises
    ------
    ValueError : an activation that it does not merge.
    """
    kind = name.decode()
    if kind not in ACTIVATIONS:
        raise ValueError(f"activation {kind!r} is unknown; valid: {', '.join(ACTIVATIONS)}")
    if kind == "Clip":
        return body("Clip", x, *(body.number(value, x) for value in parameters))
    return body(kind, x, **dict(zip(ACTIVATIONS[kind], parameters, strict=False)))


# Activation, and the attributes that its parameters are.
ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "Clip": ("min", "max"),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
}


def fused_conv(
    body: Body,
    x: str,
    weight: str,
    bias: str = "",
    residual: str = "",
    *,
    activation: bytes = b"",
    activation_params: Sequence[float] = (),
    **convolution,
) -> str:
    product = body("Conv", x, weight, bias, **convolution)
    total = body.sum(product, residual)
    return _activated(body, total, activation, activation_params) if activation else total


def fused_gemm(
    body: Body,
    a: str,
    b: str,
    c: str = "",
    *,
    activation: bytes = b"",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    **gemm,
) -> str:
    product = body("Gemm", a, b, c, **gemm)
    parameters = [
        value for value in (activation_alpha, activation_beta, activation_gamma) if value is not None
    ]
    return _activated(body, product, activation, parameters) if activation else product


def fused_matmul(
    body: Body,
    a: str,
    b: str,
    *,
    alpha: float = 1.0,
    transA: int = 0,  # noqa: N803 (onnxruntime's names)
    transB: int = 0,  # noqa: N803
    transBatchA: int = 0,  # noqa: N803
    transBatchB: int = 0,  # noqa: N803
) -> str:
    a = _matrices(body, a, transA, transBatchA)
    b = _matrices(body, b, transB, transBatchB)
    product = body("MatMul", a, b)
    return product if alpha == 1.0 else body("Mul", product, body.number(alpha, product))


def _matrices(body: Body, name: str, transposed: int, rows_first: int) -> str:
    """Return the operand as [.., rows, columns]; ``rows_first`` is [rows, .., columns]."""
    order = list(range(len(body.shapes[name])))
    if len(order) < 2:  # a vector is never transposed
        return name
    if rows_first:
        order = [*order[1:-1], order[0], order[-1]]
    if transposed:
        order[-2:] = order[:-3:-1]
    return name if order == sorted(order) else body("Transpose", name, perm=order)


def dynamic_quantize_matmul(
    body: Body, a: str, b: str, b_scale: str, b_zero_point: str = "", bias: str = ""
) -> str:
    integers, scale, zero_point = body.several("DynamicQuantizeLinear", 3, a)
    return matmul_integer_to_float(body, integers, b, scale, b_scale, zero_point, b_zero_point, bias)


def matmul_integer_to_float(
    body: Body,
    a: str,
    b: str,
    a_scale: str,
    b_scale: str,
    a_zero_point: str = "",
    b_zero_point: str = "",
    bias: str = "",
) -> str:
    total = body("MatMulInteger", a, b, a_zero_point, b_zero_point)
    scaled = body("Mul", body("CastLike", total, a_scale), body("Mul", a_scale, b_scale))
    return body.sum(scaled, bias)


CONTRIB: dict[str, dict[str, Callable[..., str | tuple[str, ...]]]] = {
    "": {"SimplifiedLayerNormalization": simplified_layer_normalization},
    "onnx.brevitas": {"BipolarQuant": bipolar_quant},
    "qonnx.custom_op.general": {"BipolarQuant": bipolar_quant},
    "com.microsoft": {
        "BiasAdd": bias_add,
        "BiasGelu": bias_gelu,
        "BiasSoftmax": bias_softmax,
        "DynamicQuantizeMatMul": dynamic_quantize_matmul,
        "EmbedLayerNormalization": embed_layer_normalization,
        "FastGelu": fast_gelu,
        "FusedConv": fused_conv,
        "FusedGemm": fused_gemm,
        "FusedMatMul": fused_matmul,
        "MatMulIntegerToFloat": matmul_integer_to_float,
        "QuickGelu": quick_gelu,
        "SkipLayerNormalization": skip_layer_normalization,
        "SkipSimplifiedLayerNormalization": skip_simplified_layer_normalization,
        "TransposeMatMul": fused_matmul,
    },
}
"""Operator to what writes its body, by domain."""


def contrib_body(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> list[onnx.NodeProto]:
    """Return nodes that compute what the node does, from its inputs to its outputs.

    Parameters
    ----------
    shapes : of the inputs, by name.

    Raises
    ------
    ValueError : inputs or attributes that the operator does not have, or an output that is not computed.
    """
    body = Body(shapes)
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    try:
        results = CONTRIB[node.domain][node.op_type](body, *node.input, **attributes)
    except TypeError as error:
        raise ValueError(str(error)) from error
    results = (results,) if isinstance(results, str) else results
    for position, output in enumerate(node.output):
        if output:
            if not results[position : position + 1] or not results[position]:
                raise ValueError(f"its output {position} is for training only, and not supported")
            body.nodes.append(helper.make_node("Identity", [results[position]], [output]))
    return body.nodes
