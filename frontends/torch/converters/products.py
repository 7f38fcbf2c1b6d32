"""Products of matrices, convolutions and attention, in the forms that the passes look for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax

from ....passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
from ..scope import Scope


def linear(s: Scope, x: relax.Expr, weight: relax.Expr, bias: relax.Expr | None = None) -> relax.Expr:
    """``x w^T + b``"""
    if len(shape_of(weight)) == 1:
        weight = s.reshape(weight, (shape_of(weight)[0],))
        product = s.onnx("MatMul", x, weight)
    else:
        product = s.onnx("MatMul", x, s.permute(weight, [1, 0]))
    return product if bias is None else relax.op.add(s.emit(product), bias)


def matmul(s: Scope, a: relax.Expr, b: relax.Expr) -> relax.Expr:
    a, b = s.alike(a, b)
    return s.onnx("MatMul", a, b)


def addmm(
    s: Scope, c: relax.Expr, a: relax.Expr, b: relax.Expr, beta: float = 1, alpha: float = 1
) -> relax.Expr:
    """``beta c + alpha a b``"""
    product = s.emit(s.onnx("MatMul", a, b))
    if alpha != 1:
        product = s.emit(relax.op.multiply(product, s.number(alpha, s.dtype)))
    if beta == 0:
        return product
    if beta != 1:
        c = s.emit(relax.op.multiply(c, s.number(beta, s.dtype)))
    return relax.op.add(product, c)


def einsum(
    s: Scope, equation: str, tensors: Sequence[relax.Expr], path: Sequence[int] | None = None
) -> relax.Expr:
    return s.onnx("Einsum", *tensors, equation=equation.replace(" ", ""))


def convolution(
    s: Scope,
    x: relax.Expr,
    weight: relax.Expr,
    bias: relax.Expr | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> relax.Expr:
    """In one to three dimensions; data without an axis of batches gets one meanwhile."""
    rank = len(shape_of(weight)) - 2
    spread = [list(value) * rank if len(value) == 1 else list(value) for value in (stride, padding, dilation)]
    attributes: dict[str, Any] = {
        "strides": spread[0],
        "pads": spread[1] * 2,
        "dilations": spread[2],
        "group": groups,
    }
    alone = len(shape_of(x)) == rank + 1
    if alone:
        x = s.reshape(x, (1, *shape_of(x)))
    if transposed:
        extra = list(output_padding) * rank if len(output_padding) == 1 else list(output_padding)
        result = s.onnx("ConvTranspose", x, weight, bias, output_padding=extra, **attributes)
    else:
        result = s.onnx("Conv", x, weight, bias, **attributes)
    return s.reshape(s.emit(result), shape_of(result)[1:]) if alone else result


def attention(
    s: Scope,
    query: relax.Expr,
    key: relax.Expr,
    value: relax.Expr,
    mask: relax.Expr | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> relax.Expr:
    """``softmax(scale q k^T + mask) v``, as torch's exporter for ONNX writes it.

    Heads of keys and values that several heads of queries share are repeated.

    Raises
    ------
    ValueError : with dropout, which is for training.
    """
    if dropout_p:
        raise ValueError("it has dropout; export the model for inference: model.eval()")
    dtype = dtype_of(query)
    if enable_gqa:
        key, value = (_repeated(s, each, shape_of(query)[-3]) for each in (key, value))
    rank = len(shape_of(key))
    scores = s.emit(relax.op.matmul(query, s.permute(key, [*range(rank - 2), rank - 1, rank - 2])))
    if scale is None:
        scale = 1 / math.sqrt(shape_of(query)[-1])
    scores = s.emit(relax.op.multiply(scores, s.number(scale, dtype)))
    if is_causal:
        rows, columns = shape_of(scores)[-2:]
        hides = np.arange(columns) > np.arange(rows)[:, None]
        scores = s.emit(relax.op.add(scores, constant(np.where(hides, -np.inf, 0.0).astype(dtype))))
    if mask is not None:
        scores = s.emit(relax.op.add(scores, _additive(s, mask, dtype)))
    shares = s.emit(relax.op.nn.softmax(scores, -1))
    if mask is not None and not _every_row_sees(mask):
        is_hidden = s.emit(relax.op.isnan(shares))
        shares = s.emit(relax.op.where(is_hidden, s.number(0, dtype), shares))
    return relax.op.matmul(shares, value)


def _additive(s: Scope, mask: relax.Expr, dtype: str) -> relax.Expr:
    """Return what is added to scores; of a mask that several layers read the same."""
    if dtype_of(mask) != "bool":
        return s.cast(mask, dtype)
    if is_constant(mask):
        return constant(np.where(to_numpy(mask), 0.0, -np.inf).astype(dtype))
    least = s.number(-np.inf, dtype)
    return s.once((mask, dtype), lambda: relax.op.where(mask, s.number(0, dtype), least))


def _every_row_sees(mask: relax.Expr) -> bool:
    """Tell whether each query is known to see a key; of one that sees none torch gives zeros."""
    if not is_constant(mask):
        return False
    values = to_numpy(mask)
    return bool((values if values.dtype == bool else values > -np.inf).any(axis=-1).all())


def _repeated(s: Scope, value: relax.Expr, heads: int) -> relax.Expr:
    axis = len(shape_of(value)) - 3
    times = heads // shape_of(value)[axis]
    return value if times == 1 else s.emit(relax.op.repeat(value, times, axis))
