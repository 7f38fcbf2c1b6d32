"""Convolutions and products with the activation, residual or transposition that onnxruntime merges into them."""

from __future__ import annotations

from collections.abc import Sequence

from .body import Body


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
