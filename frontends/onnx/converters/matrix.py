"""ONNX's products of matrices and what amounts to them: vectors, norms, Fourier transforms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
from .determinant import determinant
from .elementwise import number

Inputs = list[relax.Expr | None]
Attributes = dict[str, Any]


class MatMul(stock.OnnxOpConverter):
    """A product of matrices; a vector is a matrix of one row, or of one column, whose axis goes from the result."""

    @classmethod
    def _impl_v1(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        operands, added = list(inputs), []
        for at, axis, gone in ((0, 0, -2), (1, 1, -1)):
            if len(shape_of(operands[at])) == 1:
                if is_constant(operands[at]):
                    operands[at] = constant(np.expand_dims(to_numpy(operands[at]), axis))
                else:
                    operands[at] = bb.emit(relax.op.expand_dims(operands[at], axis))
                added.append(gone)
        product = relax.op.matmul(*operands)
        return relax.op.squeeze(bb.emit(product), added) if added else product


class Det(stock.OnnxOpConverter):
    """The determinant of each matrix [.., n, n]."""

    @classmethod
    def _impl_v11(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        *outer, rows, columns = shape_of(inputs[0])
        if rows != columns:
            raise ValueError(f"its matrices are {rows} x {columns}; a determinant needs square ones")
        batch, dtype = math.prod(outer), dtype_of(inputs[0])
        flat = bb.emit(relax.op.reshape(inputs[0], (batch, rows, rows)))
        kernel = bb.add_func(determinant(batch, rows, dtype), "determinant")
        result = bb.emit(relax.call_tir(kernel, [flat], relax.TensorType((batch,), dtype)))
        return relax.op.reshape(result, tuple(outer))


class LpNormalization(stock.OnnxOpConverter):
    """x / (sum |x|^p)^(1 / p) along an axis; zeros stay zeros."""

    @classmethod
    def _impl_v1(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        data, p = inputs[0], attr.get("p", 2)
        if p not in (1, 2):
            raise ValueError(f"p is {p}; 1 and 2 are defined")
        parts = bb.emit(relax.op.abs(data) if p == 1 else relax.op.multiply(data, data))
        total = bb.emit(relax.op.sum(parts, [attr.get("axis", -1)], keepdims=True))
        norm = total if p == 1 else bb.emit(relax.op.sqrt(total))
        is_zero = bb.emit(relax.op.equal(norm, number(0, norm)))
        return relax.op.divide(data, bb.emit(relax.op.where(is_zero, number(1, norm), norm)))


class DFT(stock.OnnxOpConverter):
    """The discrete Fourier transform along an axis, as two products with cosines and sines.

    The last axis has real and imaginary part, or the real one alone.
    """

    @classmethod
    def _impl_v17(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        return cls._transform(bb, inputs[0], inputs[1], attr.get("axis", 1), attr)

    @classmethod
    def _impl_v20(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        axis = -2 if inputs[2] is None else _integer("axis", inputs[2])
        return cls._transform(bb, inputs[0], inputs[1], axis, attr)

    @staticmethod
    def _transform(bb, data: relax.Expr, length, axis: int, attr: Attributes) -> relax.Expr:
        shape = shape_of(data)
        axis %= len(shape)
        inverse, one_sided = bool(attr.get("inverse", 0)), bool(attr.get("onesided", 0))
        given = shape[axis]
        points = (
            (2 * (given - 1) if inverse and one_sided else given)
            if length is None
            else _integer("dft_length", length)
        )
        if inverse and one_sided:  # the other half of the spectrum is the conjugate of this one
            return _one_sided_inverse(bb, data, axis, points)
        results = points // 2 + 1 if one_sided else points
        taps = min(given, points)
        angles = np.outer(np.arange(taps), np.arange(results)) * (2 * np.pi / points)
        scale = 1 / points if inverse else 1.0
        cosines, sines = np.cos(angles) * scale, np.sin(angles) * (scale if inverse else -scale)
        real, imaginary = _parts(bb, data, axis, taps)
        dtype = dtype_of(data)
        cosines, sines = (constant(part.astype(dtype)) for part in (cosines, sines))
        product = [bb.emit(relax.op.matmul(real, factor)) for factor in (cosines, sines)]
        if imaginary is not None:
            crossed = [bb.emit(relax.op.matmul(imaginary, factor)) for factor in (sines, cosines)]
            product = [
                bb.emit(relax.op.subtract(product[0], crossed[0])),
                bb.emit(relax.op.add(product[1], crossed[1])),
            ]
        return _joined(bb, product, axis)


def _one_sided_inverse(bb, data: relax.Expr, axis: int, points: int) -> relax.Expr:
    """Return the real signal [.., points, .., 1] of half a spectrum."""
    half = np.arange(min(shape_of(data)[axis], points // 2 + 1))
    # Frequencies between 0 and the middle stand for two.
    weight = np.where((half == 0) | (2 * half == points), 1.0, 2.0) / points
    angles = np.outer(half, np.arange(points)) * (2 * np.pi / points)
    dtype = dtype_of(data)
    real, imaginary = _parts(bb, data, axis, len(half))
    cosines = constant((np.cos(angles) * weight[:, None]).astype(dtype))
    result = bb.emit(relax.op.matmul(real, cosines))
    if imaginary is not None:
        sines = constant((np.sin(angles) * weight[:, None]).astype(dtype))
        result = bb.emit(relax.op.subtract(result, bb.emit(relax.op.matmul(imaginary, sines))))
    return _joined(bb, [result], axis)


def _parts(bb, data: relax.Expr, axis: int, taps: int) -> tuple[relax.Expr, relax.Expr | None]:
    """Return real and imaginary part, the transformed axis last and cut to ``taps``."""
    shape = shape_of(data)
    last = len(shape) - 1
    if shape[axis] != taps:
        data = bb.emit(relax.op.strided_slice(data, [axis], [0], [taps]))
    parts = []
    for at in range(shape[last]):
        part = bb.emit(
            relax.op.squeeze(bb.emit(relax.op.strided_slice(data, [last], [at], [at + 1])), [last])
        )
        order = [other for other in range(last) if other != axis] + [axis]
        parts.append(bb.emit(relax.op.permute_dims(part, order)))
    return parts[0], parts[1] if len(parts) == 2 else None


def _joined(bb, parts: list[relax.Expr], axis: int) -> relax.Expr:
    """Undo ``_parts``."""
    rank = len(shape_of(parts[0]))
    order = list(range(rank - 1))
    order.insert(axis, rank - 1)
    moved = [bb.emit(relax.op.expand_dims(bb.emit(relax.op.permute_dims(part, order)), -1)) for part in parts]
    return moved[0] if len(moved) == 1 else relax.op.concat(moved, -1)


def _integer(name: str, operand: relax.Expr) -> int:
    if not is_constant(operand):
        raise ValueError(f"{name} is computed at run time; only constants are supported")
    return int(to_numpy(operand).item())


class STFT(stock.OnnxOpConverter):
    """The Fourier transform of each frame of a signal [batch, length, 1 or 2], times the window."""

    @classmethod
    def _impl_v17(cls, bb, inputs: Inputs, attr: Attributes, params) -> relax.Expr:
        signal, step, window, length = inputs[0], _integer("frame_step", inputs[1]), inputs[2], inputs[3]
        size = shape_of(window)[0] if length is None else _integer("frame_length", length)
        _, total, _ = shape_of(signal)
        frames = (total - size) // step + 1
        at = np.arange(frames)[:, None] * step + np.arange(size)
        cut = bb.emit(relax.op.take(signal, constant(at), 1))
        if window is not None:
            # A window that is shorter than the frame stands in its middle.
            missing = size - shape_of(window)[0]
            if missing:
                window = bb.emit(relax.op.nn.pad(window, [missing // 2, missing - missing // 2]))
            cut = bb.emit(relax.op.multiply(cut, bb.emit(relax.op.reshape(window, (size, 1)))))
        return DFT._transform(bb, cut, None, 2, {"onesided": attr.get("onesided", 1)})
