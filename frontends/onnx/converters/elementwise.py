"""Elementwise ONNX operators whose converters in TVM know only part of the dtypes or attributes, or do not compile."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import helper
from tvm import relax, te, tirx
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import constant, dtype_of, is_constant, to_numpy
from .wrapping import Convert, Inputs, wrapped

Attributes = dict[str, Any]


def number(value: float, like: relax.Expr) -> relax.Expr:
    """Return a scalar constant of an expression's dtype."""
    return relax.const(value, dtype_of(like))


class BitCast(stock.OnnxOpConverter):
    """The same bits as another dtype of as many."""

    @classmethod
    def _impl_v26(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        data, dtype = inputs[0], np.dtype(helper.tensor_dtype_to_np_dtype(attr["to"]))
        if np.dtype(dtype_of(data)).itemsize != dtype.itemsize:
            raise ValueError(f"{dtype_of(data)} does not have as many bits as {dtype}")
        if "bool" in (dtype_of(data), str(dtype)):  # one bit in LLVM, 0 or 1 in memory
            return relax.op.astype(data, str(dtype))

        def define(x: te.Tensor) -> te.Tensor:
            return te.compute(x.shape, lambda *at: tirx.reinterpret(str(dtype), x(*at)), name="bits")

        return bb.emit_te(define, data)


class BitShift(stock.BitShift):
    """By as many bits as there are, or more, or a negative number, nothing is left but the sign.

    In C, and so in TVM, such shifts are undefined.
    """

    @classmethod
    def _impl_v11(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        data, count = inputs[0], inputs[1]
        dtype = dtype_of(data)
        last = number(np.iinfo(dtype).bits - 1, data)
        to_left = attr["direction"] == b"LEFT"
        shift = relax.op.left_shift if to_left else relax.op.right_shift
        fits = bb.normalize(relax.op.less_equal(count, last))
        if dtype.startswith("int"):
            fits = bb.normalize(
                relax.op.logical_and(bb.normalize(relax.op.greater_equal(count, number(0, data))), fits)
            )
        shifted = bb.normalize(shift(data, bb.normalize(relax.op.where(fits, count, number(0, data)))))
        keeps_sign = dtype.startswith("int") and not to_left
        rest = bb.normalize(relax.op.right_shift(data, last)) if keeps_sign else number(0, data)
        return relax.op.where(fits, shifted, rest)


class Cosh(stock.OnnxOpConverter):
    """(e^x + e^-x) / 2; LLVM has no such function."""

    @classmethod
    def _impl_v9(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        powers = [
            bb.normalize(relax.op.exp(bb.normalize(x))) for x in (inputs[0], relax.op.negative(inputs[0]))
        ]
        return relax.op.multiply(bb.normalize(relax.op.add(*powers)), number(0.5, inputs[0]))


class Sinh(stock.OnnxOpConverter):
    """(e^x - e^-x) / 2, and near zero, where that cancels, its series."""

    @classmethod
    def _impl_v9(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        x = inputs[0]
        powers = [bb.normalize(relax.op.exp(bb.normalize(value))) for value in (x, relax.op.negative(x))]
        far = bb.normalize(relax.op.multiply(bb.normalize(relax.op.subtract(*powers)), number(0.5, x)))
        square = bb.normalize(relax.op.multiply(x, x))
        # x (1 + x^2 / 6 (1 + x^2 / 20 (1 + x^2 / 42))): within 1e-9 of the value up to 0.5.
        series = number(1, x)
        for divisor in (42, 20, 6):
            term = bb.normalize(relax.op.multiply(square, number(1 / divisor, x)))
            series = bb.normalize(relax.op.add(number(1, x), bb.normalize(relax.op.multiply(term, series))))
        near = bb.normalize(relax.op.multiply(x, series))
        return relax.op.where(bb.normalize(relax.op.less(square, number(0.25, x))), near, far)


class Celu(stock.OnnxOpConverter):
    """x, or alpha (e^(x / alpha) - 1) where x is negative."""

    @classmethod
    def _impl_v12(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        x, alpha = inputs[0], attr.get("alpha", 1.0)
        scaled = bb.normalize(relax.op.divide(x, number(alpha, x)))
        return relax.op.multiply(bb.normalize(_exponential(bb, scaled, 1.0, 1.0)), number(alpha, x))


class Elu(stock.OnnxOpConverter):
    """x, or alpha (e^x - 1) where x is negative."""

    @classmethod
    def _impl_v1(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        return _exponential(bb, inputs[0], attr.get("alpha", 1.0), 1.0)


class Selu(stock.OnnxOpConverter):
    """gamma x, or gamma alpha (e^x - 1) where x is negative."""

    @classmethod
    def _impl_v1(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        alpha, gamma = (
            attr.get("alpha", 1.67326319217681884765625),
            attr.get("gamma", 1.05070102214813232421875),
        )
        return _exponential(bb, inputs[0], alpha, gamma)


def _exponential(bb, x: relax.Expr, alpha: float, gamma: float) -> relax.Expr:
    negative = bb.normalize(relax.op.minimum(x, number(0, x)))
    falling = bb.normalize(relax.op.subtract(bb.normalize(relax.op.exp(negative)), number(1, x)))
    scaled = bb.normalize(relax.op.multiply(falling, number(alpha, x)))
    total = bb.normalize(relax.op.add(bb.normalize(relax.op.maximum(x, number(0, x))), scaled))
    return total if gamma == 1.0 else relax.op.multiply(total, number(gamma, x))


class Equal(stock.Equal):
    """Of booleans by way of their difference: LLVM refuses TVM's comparison of vectors of them."""

    @classmethod
    def _impl_v13(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        left, right = inputs[0], inputs[1]
        if any(isinstance(value, relax.ShapeExpr) for value in (left, right)) or dtype_of(left) != "bool":
            return super()._impl_v13(bb, inputs, attr, params)
        return relax.op.logical_not(bb.normalize(relax.op.logical_xor(left, right)))


class IsInf(stock.OnnxOpConverter):
    """Of either sign, or of the one that is asked for."""

    @classmethod
    def _impl_v10(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        x = inputs[0]
        signs = [
            bb.normalize(relax.op.equal(x, number(sign * math.inf, x)))
            for sign, name in ((1, "detect_positive"), (-1, "detect_negative"))
            if attr.get(name, 1)
        ]
        if not signs:
            return relax.op.less(x, number(-math.inf, x))  # nothing is
        return signs[0] if len(signs) == 1 else relax.op.logical_or(*signs)


class ThresholdedRelu(stock.OnnxOpConverter):
    """x above alpha, else 0."""

    @classmethod
    def _impl_v1(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        x = inputs[0]
        above = bb.normalize(relax.op.greater(x, number(attr.get("alpha", 1.0), x)))
        return relax.op.where(above, x, number(0, x))


class Pow(stock.Pow):
    """The power in the base's dtype, whatever the exponent's; of integers by way of float64, exact up to 2^53."""

    @classmethod
    def _impl_v7(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        base, exponent = inputs[0], inputs[1]
        dtype = dtype_of(base)
        if all(is_constant(value) for value in (base, exponent)):
            return constant(np.asarray(to_numpy(base) ** to_numpy(exponent)).astype(dtype))
        wide = dtype if dtype.startswith("float") else "float64"
        operands = [
            value if dtype_of(value) == wide else bb.normalize(relax.op.astype(value, wide))
            for value in (base, exponent)
        ]
        power = bb.normalize(relax.op.power(*operands))
        if dtype == wide:
            return power
        # exp and log miss whole numbers by their last bits.
        return relax.op.astype(bb.normalize(relax.op.round(power)), dtype)


def in_float32(converter: type[stock.OnnxOpConverter]) -> type[stock.OnnxOpConverter]:
    """Return a converter that computes float16 in float32: LLVM has no such function for it, or a coarse one."""

    def cast_around(convert: Convert, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        if dtype_of(inputs[0]) != "float16":
            return convert(bb, inputs, attr, params)
        wide = bb.normalize(relax.op.astype(inputs[0], "float32"))
        return relax.op.astype(bb.normalize(convert(bb, stock.onnx_input([wide]), attr, params)), "float16")

    return wrapped(converter, cast_around)
