"""Operators whose results depend on one element of each operand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from tvm import relax

from ....passes.hub.graph import dtype_of
from ..scope import Scope
from ..tensors import dtype_name

Operand: TypeAlias = relax.Expr | float
Convert: TypeAlias = Callable[..., Any]


def of_onnx(op_type: str, **attributes: Any) -> Convert:
    """Return the converter of a function of one tensor that ONNX has too, computed in the result's float type."""

    def convert(s: Scope, x: relax.Expr) -> relax.Expr:
        return s.onnx(op_type, s.cast(x, s.dtype) if s.dtype != "bool" else x, **attributes)

    return convert


def of_relax(operator: Convert) -> Convert:
    """Return the converter of a function of one tensor."""
    return lambda s, x: operator(s.cast(x, s.dtype) if s.dtype != "bool" else x)


def of_two(operator: Convert) -> Convert:
    """Return the converter of a function of two operands in one dtype: tensors, or a tensor and a number."""
    return lambda s, a, b: operator(*s.alike(a, b))


def sum_of(operator: Convert) -> Convert:
    """Return the converter of ``a + alpha b`` or ``a - alpha b``."""

    def convert(s: Scope, a: relax.Expr, b: Operand, alpha: float = 1) -> relax.Expr:
        a, b = s.alike(a, b)
        if alpha != 1:
            b = s.emit(relax.op.multiply(b, s.number(alpha, dtype_of(b))))
        if dtype_of(a) == "bool":  # a sum of booleans is whether any is true
            return relax.op.logical_or(a, b)
        return operator(a, b)

    return convert


def multiply(s: Scope, a: relax.Expr, b: Operand) -> relax.Expr:
    a, b = s.alike(a, b)
    return relax.op.logical_and(a, b) if dtype_of(a) == "bool" else relax.op.multiply(a, b)


def divide(s: Scope, a: relax.Expr, b: Operand, rounding_mode: str | None = None) -> relax.Expr:
    """Divide, and round down or to zero where asked for, integers as integers."""
    a, b = s.alike(a, b, dtype=s.dtype)
    if rounding_mode is None:
        return relax.op.divide(a, b)
    if s.dtype.startswith("float"):
        quotient = s.emit(relax.op.divide(a, b))
        return relax.op.floor(quotient) if rounding_mode == "floor" else relax.op.trunc(quotient)
    return relax.op.floor_divide(a, b) if rounding_mode == "floor" else s.onnx("Div", a, b)


def remainder(s: Scope, a: Operand, b: Operand) -> relax.Expr:
    """The remainder of the sign of the divisor."""
    return relax.op.floor_mod(*s.alike(a, b))


def fmod(s: Scope, a: relax.Expr, b: Operand) -> relax.Expr:
    """The remainder of the sign of the dividend."""
    return s.onnx("Mod", *s.alike(a, b), fmod=1)


def compare(op_type: str, negated: bool = False) -> Convert:
    """Return the converter of a comparison."""

    def convert(s: Scope, a: relax.Expr, b: Operand) -> relax.Expr:
        a, b = s.alike(a, b)
        if dtype_of(a) == "bool" and op_type != "Equal":
            a, b = s.cast(a, "int8"), s.cast(b, "int8")
        found = s.onnx(op_type, a, b)
        return relax.op.logical_not(found) if negated else found

    return convert


def logical(operator: Convert) -> Convert:
    """Return the converter of an operator of two truth values."""
    return lambda s, a, b: operator(s.cast(a, "bool"), s.cast(b, "bool"))


def bitwise(of_bits: Convert, of_booleans: Convert) -> Convert:
    """Return the converter of an operator of two integers bit by bit, or of two booleans."""

    def convert(s: Scope, a: relax.Expr, b: Operand) -> relax.Expr:
        a, b = s.alike(a, b)
        return of_booleans(a, b) if dtype_of(a) == "bool" else of_bits(a, b)

    return convert


def bitwise_not(s: Scope, x: relax.Expr) -> relax.Expr:
    return relax.op.logical_not(x) if dtype_of(x) == "bool" else relax.op.bitwise_not(x)


def logical_not(s: Scope, x: relax.Expr) -> relax.Expr:
    return relax.op.logical_not(s.cast(x, "bool"))


def power(s: Scope, base: Operand, exponent: Operand) -> relax.Expr:
    base, exponent = s.alike(base, exponent)
    return s.onnx("Pow", base, exponent)


def where(s: Scope, condition: relax.Expr, a: relax.Expr, b: relax.Expr) -> relax.Expr:
    return relax.op.where(s.cast(condition, "bool"), *s.alike(a, b, dtype=s.dtype))


def clamp(s: Scope, x: relax.Expr, low: float | None = None, high: float | None = None) -> relax.Expr:
    x = s.cast(x, s.dtype)
    if s.dtype.startswith(("float", "bfloat")):
        return relax.op.clip(x, -math.inf if low is None else low, math.inf if high is None else high)
    for bound, operator in ((low, relax.op.maximum), (high, relax.op.minimum)):
        if bound is not None:
            x = s.emit(operator(x, s.number(bound, s.dtype)))
    return x


def clamp_by_tensors(
    s: Scope, x: relax.Expr, low: relax.Expr | None = None, high: relax.Expr | None = None
) -> relax.Expr:
    x = s.cast(x, s.dtype)
    for bound, operator in ((low, relax.op.maximum), (high, relax.op.minimum)):
        if bound is not None:
            x = s.emit(operator(x, s.cast(bound, s.dtype)))
    return x


def hardtanh(s: Scope, x: relax.Expr, low: float = -1.0, high: float = 1.0) -> relax.Expr:
    return clamp(s, x, low, high)


def relu6(s: Scope, x: relax.Expr) -> relax.Expr:
    return clamp(s, x, 0.0, 6.0)


def gelu(s: Scope, x: relax.Expr, approximate: str = "none") -> relax.Expr:
    return relax.op.nn.gelu_tanh(x) if approximate == "tanh" else relax.op.nn.gelu(x)


def leaky_relu(s: Scope, x: relax.Expr, slope: float = 0.01) -> relax.Expr:
    return s.onnx("LeakyRelu", x, alpha=float(slope))


def elu(s: Scope, x: relax.Expr, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> relax.Expr:
    """``scale (x or alpha (e^(input_scale x) - 1))``: what ELU, SELU and CELU are decomposed to."""
    if input_scale == 1:
        value = s.onnx("Elu", x, alpha=float(alpha))
    else:
        falling = s.onnx(
            "Elu", s.emit(relax.op.multiply(x, s.number(input_scale, s.dtype))), alpha=float(alpha)
        )
        value = relax.op.where(s.emit(relax.op.greater(x, s.number(0, s.dtype))), x, s.emit(falling))
    return value if scale == 1 else relax.op.multiply(s.emit(value), s.number(scale, s.dtype))


def softplus(s: Scope, x: relax.Expr, beta: float = 1, threshold: float = 20) -> relax.Expr:
    """``log(1 + e^(beta x)) / beta``; beyond the threshold torch gives x, which is as near as float32 has it."""
    if beta == 1:
        return s.onnx("Softplus", x)
    value = s.onnx("Softplus", s.emit(relax.op.multiply(x, s.number(beta, s.dtype))))
    return relax.op.divide(s.emit(value), s.number(beta, s.dtype))


def prelu(s: Scope, x: relax.Expr, weight: relax.Expr) -> relax.Expr:
    """``x`` or ``weight x``; the weight has been given the axes of x."""
    falling = s.emit(relax.op.multiply(x, weight))
    return relax.op.where(s.emit(relax.op.greater(x, s.number(0, s.dtype))), x, falling)


def log_by(base: float) -> Convert:
    """Return the converter of a logarithm to a base."""

    def convert(s: Scope, x: relax.Expr) -> relax.Expr:
        natural = s.emit(relax.op.log(s.cast(x, s.dtype)))
        return relax.op.multiply(natural, s.number(1 / math.log(base), s.dtype))

    return convert


def log1p(s: Scope, x: relax.Expr) -> relax.Expr:
    """``log(u) x / (u - 1)`` with ``u = 1 + x``, which is exact where 1 + x loses what is small (Kahan)."""
    x, one = s.cast(x, s.dtype), s.number(1, s.dtype)
    whole = s.emit(relax.op.add(x, one))
    rounded = s.emit(relax.op.subtract(whole, one))
    is_small = s.emit(relax.op.equal(rounded, s.number(0, s.dtype)))
    safe = s.emit(relax.op.where(is_small, one, rounded))
    share = s.emit(relax.op.divide(x, safe))
    logarithm = s.emit(relax.op.log(whole))
    is_infinite = s.emit(relax.op.equal(whole, s.number(math.inf, s.dtype)))
    value = s.emit(relax.op.where(is_small, x, s.emit(relax.op.multiply(logarithm, share))))
    return relax.op.where(is_infinite, logarithm, value)


def expm1(s: Scope, x: relax.Expr) -> relax.Expr:
    """``e^x - 1``, near 0 by its series: within 1e-7 of the value up to 0.1."""
    x = s.cast(x, s.dtype)
    series = s.number(1, s.dtype)
    for divisor in (6, 5, 4, 3, 2):
        term = s.emit(relax.op.multiply(x, s.number(1 / divisor, s.dtype)))
        series = s.emit(relax.op.add(s.number(1, s.dtype), s.emit(relax.op.multiply(term, series))))
    near = s.emit(relax.op.multiply(x, series))
    far = s.emit(relax.op.subtract(s.emit(relax.op.exp(x)), s.number(1, s.dtype)))
    is_near = s.emit(relax.op.less(s.emit(relax.op.abs(x)), s.number(0.1, s.dtype)))
    return relax.op.where(is_near, near, far)


def to_copy(s: Scope, x: relax.Expr, dtype: torch.dtype | None = None, *others: Any) -> relax.Expr:
    """Another dtype; where a tensor lies, and in which order, is not ours to say."""
    wanted = dtype_of(x) if dtype is None else dtype_name(dtype)
    if wanted == dtype_of(x):
        return x
    if wanted == "bool":
        return relax.op.not_equal(x, s.number(0, dtype_of(x)))
    return relax.op.astype(x, wanted)


def same(s: Scope, x: relax.Expr, *others: Any) -> relax.Expr:
    """What is the tensor itself in a program that changes none."""
    return x
