"""ONNX's LSTM, GRU and RNN: the products with the input as one matrix product, the steps as one kernel.

    LSTM(x, W, R, ..)  -->  recurrence(matmul(x, W^T) + b, R^T, ..)    for each direction

The former is a matrix product like any other, and quantized like one; so are the weights of the latter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend as stock

from ....passes.hub.graph import constant, dtype_of, is_constant, shape_of, to_numpy
from ....passes.hub.recurrences import GATES, GateFunction, Recurrence
from ....passes.realize.compute.gate_functions import FORMULAS
from ....passes.realize.compute.recurrence import float_recurrence

DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
"""Cell to the activations of each direction."""

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""ONNX's direction to whether each of its directions is the reverse one."""


def activations_of(cell: str, directions: int, attr: dict[str, Any]) -> list[tuple[GateFunction, ...]]:
    """Return each direction's activations. ``activation_alpha`` and ``_beta`` are for those that have one, in order.

    Raises
    ------
    ValueError : an activation that ONNX does not have, or another number of them than the cell has.
    """
    each = len(DEFAULTS[cell])
    names = [name.decode() for name in attr.get("activations", ())] or list(DEFAULTS[cell] * directions)
    if len(names) != each * directions:
        raise ValueError(f"{each * directions} activations are expected, and {len(names)} are given")
    alphas, betas = iter(attr.get("activation_alpha", ())), iter(attr.get("activation_beta", ()))
    found = [_activation(name, alphas, betas) for name in names]
    return [tuple(found[at : at + each]) for at in range(0, len(found), each)]


def _activation(name: str, alphas: Iterator[float], betas: Iterator[float]) -> GateFunction:
    known = {key.lower(): key for key in FORMULAS}
    if name.lower() not in known:
        raise ValueError(f"activation {name!r} is unknown; valid: {', '.join(FORMULAS)}")
    key = known[name.lower()]
    alpha, beta = FORMULAS[key].alpha, FORMULAS[key].beta
    return GateFunction(
        key,
        0.0 if alpha is None else next(alphas, alpha),
        0.0 if beta is None else next(betas, beta),
    )


class _Recurrent(stock.OnnxOpConverter):
    """What the three cells share; the results are all steps, the last h and the last c."""

    cell = ""

    @classmethod
    def _impl_v1(cls, bb, inputs, attr: dict[str, Any], params) -> relax.Expr:
        given = list(inputs) + [None] * (8 - len(inputs))
        data, weights, recurrent, bias, lengths, first_h, first_c, peepholes = given
        dtype = dtype_of(data)

        def value(call: relax.Call) -> relax.Expr:
            return bb.emit(call)

        def float32(operand: relax.Expr | None, shape: tuple[int, ...]) -> relax.Expr:
            if operand is None:
                return constant(np.zeros(shape, np.float32))
            return operand if dtype_of(operand) == "float32" else _cast(value, operand, "float32")

        is_batch_first = attr.get("layout", 0)
        swap = [1, 0, 2]
        directions = DIRECTIONS[attr.get("direction", b"forward").decode()]
        count, width, size = shape_of(weights)
        if count != len(directions):
            raise ValueError(f"weights of {len(directions)} directions are expected, and {count} are given")
        hidden = width // GATES[cls.cell]
        data = float32(data, ())
        if is_batch_first:
            data = value(relax.op.permute_dims(data, swap))
        steps, batch, _ = shape_of(data)
        states = []
        for state in (first_h, first_c):
            shape = (batch, count, hidden) if is_batch_first else (count, batch, hidden)
            state = float32(state, shape)
            states.append(value(relax.op.permute_dims(state, swap)) if is_batch_first else state)
        weights, recurrent = float32(weights, ()), float32(recurrent, ())
        bias, peepholes = float32(bias, (count, 2 * width)), float32(peepholes, (count, 3 * hidden))
        lengths = (
            constant(np.full(batch, steps, np.int32)) if lengths is None else _cast(value, lengths, "int32")
        )
        found = []
        for at, activations in enumerate(activations_of(cls.cell, count, attr)):
            layer = Recurrence(
                cls.cell, steps, batch, hidden, activations, directions[at], attr.get("clip"),
                bool(attr.get("input_forget", 0)), bool(attr.get("linear_before_reset", 0)),
            )  # fmt: skip
            of_input = _transposed(value, _part(value, weights, at))
            product = value(relax.op.matmul(data, of_input))
            biases = _part(value, bias, at)
            x = value(relax.op.add(product, _slice(value, biases, 0, width)))
            operands = [
                x, _transposed(value, _part(value, recurrent, at)), _slice(value, biases, width, 2 * width),
                _part(value, peepholes, at), lengths, *(_part(value, state, at) for state in states),
            ]  # fmt: skip
            shapes = [(steps, batch, hidden), (batch, hidden), (batch, hidden)]
            kernel = bb.add_func(float_recurrence(layer), cls.cell.lower())
            types = [relax.TensorType(shape, "float32") for shape in shapes]
            found.append(bb.emit(relax.call_tir(kernel, operands, types)))
        results = []
        # Where the axis of directions goes, time or batch first.
        for at, axis in enumerate((2, 1, 1) if is_batch_first else (1, 0, 0)):
            parts = [value(relax.TupleGetItem(result, at)) for result in found]
            if is_batch_first and at == 0:
                parts = [value(relax.op.permute_dims(part, swap)) for part in parts]
            parts = [value(relax.op.expand_dims(part, axis)) for part in parts]
            joined = parts[0] if count == 1 else value(relax.op.concat(parts, axis))
            results.append(joined if dtype == "float32" else _cast(value, joined, dtype))
        return relax.Tuple(results[: 3 if cls.cell == "LSTM" else 2])


def _cast(value, operand: relax.Expr, dtype: str) -> relax.Expr:
    if is_constant(operand):
        return constant(to_numpy(operand).astype(dtype))
    return operand if dtype_of(operand) == dtype else value(relax.op.astype(operand, dtype))


def _part(value, operand: relax.Expr, at: int) -> relax.Expr:
    """Return ``operand[at]``; of a constant as a constant, so that the passes see weights as such."""
    if is_constant(operand):
        return constant(to_numpy(operand)[at])
    part = value(relax.op.strided_slice(operand, [0], [at], [at + 1]))
    return value(relax.op.squeeze(part, [0]))


def _slice(value, operand: relax.Expr, begin: int, end: int) -> relax.Expr:
    if is_constant(operand):
        return constant(to_numpy(operand)[begin:end])
    return value(relax.op.strided_slice(operand, [0], [begin], [end]))


def _transposed(value, operand: relax.Expr) -> relax.Expr:
    if is_constant(operand):
        return constant(np.ascontiguousarray(to_numpy(operand).T))
    return value(relax.op.permute_dims(operand))


class GRU(_Recurrent):
    cell = "GRU"


class LSTM(_Recurrent):
    cell = "LSTM"


class RNN(_Recurrent):
    cell = "RNN"
