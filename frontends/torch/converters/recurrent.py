"""LSTM, GRU and RNN of any number of layers, by the converters of ONNX's.

torch keeps a layer's weights as [gates hidden, ..] in its own order of gates; ONNX's has the directions in front.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from tvm import relax

from ....passes.hub.graph import constant, is_constant, shape_of, to_numpy
from ..scope import Scope

ORDERS = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Cell to torch's gates in the order of ONNX's: i, f, g, o to i, o, f, c; r, z, n to z, r, h."""


def recurrent(cell: str, activation: str = "") -> Callable:
    """Return the converter of a cell: all steps, the last h of each layer and direction, and of an LSTM the last c."""

    def convert(
        s: Scope, x: relax.Expr, state, weights: Sequence[relax.Expr], biases: bool, layers: int, dropout: float,
        train: bool, bidirectional: bool, batch_first: bool,
    ) -> tuple[relax.Expr, ...]:  # fmt: skip
        if train and dropout:
            raise ValueError("it has dropout; export the model for inference: model.eval()")
        states = list(state) if isinstance(state, Sequence) else [state]
        alone = len(shape_of(x)) == 2
        if alone:
            x = s.reshape(x, (shape_of(x)[0], 1, shape_of(x)[1]))
            states = [s.reshape(each, (shape_of(each)[0], 1, shape_of(each)[1])) for each in states]
        elif batch_first:
            x = s.permute(x, [1, 0, 2])
        directions = 2 if bidirectional else 1
        each_weights = 4 if biases else 2
        if len(weights) != layers * directions * each_weights:
            raise ValueError("it has projections (proj_size), which are not supported")
        lasts: list[list[relax.Expr]] = [[] for _ in states]
        for layer in range(layers):
            first = layer * directions * each_weights
            own = weights[first : first + directions * each_weights]
            initial = [_part(s, each, layer * directions, directions) for each in states]
            x, *ends = _layer(s, cell, activation, x, initial, own, directions, biases)
            for found, end in zip(lasts, ends, strict=True):
                found.append(end)
        if alone:
            x = s.reshape(x, (shape_of(x)[0], shape_of(x)[2]))
        elif batch_first:
            x = s.permute(x, [1, 0, 2])
        ends = [each[0] if len(each) == 1 else s.emit(relax.op.concat(each, 0)) for each in lasts]
        if alone:
            ends = [s.reshape(each, (shape_of(each)[0], shape_of(each)[2])) for each in ends]
        return x, *ends

    return convert


def _layer(
    s: Scope, cell: str, activation: str, x: relax.Expr, states: Sequence[relax.Expr],
    weights: Sequence[relax.Expr], directions: int, biases: bool,
) -> list[relax.Expr]:  # fmt: skip
    """Return all steps [T, B, directions * hidden] and the last states of one layer."""
    each = len(weights) // directions
    own = [weights[at * each : (at + 1) * each] for at in range(directions)]
    of_input = _joined(s, [_ordered(s, cell, one[0]) for one in own])
    recurrent_weights = _joined(s, [_ordered(s, cell, one[1]) for one in own])
    bias = None
    if biases:
        pairs = [s.emit(relax.op.concat([_ordered(s, cell, one[2]), _ordered(s, cell, one[3])], 0))
                 if not all(map(is_constant, one[2:])) else
                 constant(np.concatenate([to_numpy(_ordered(s, cell, part)) for part in one[2:]]))
                 for one in own]  # fmt: skip
        bias = _joined(s, pairs)
    attributes: dict = {"hidden_size": shape_of(recurrent_weights)[2]}
    if directions == 2:
        attributes["direction"] = "bidirectional"
    if cell == "GRU":
        attributes["linear_before_reset"] = 1
    if activation:
        attributes["activations"] = [activation.encode()] * directions
    count = 3 if cell == "LSTM" else 2
    steps, *ends = s.onnx_outputs(
        cell, count, x, of_input, recurrent_weights, bias, None, *states, **attributes
    )
    time, _, batch, hidden = shape_of(steps)
    merged = s.reshape(s.permute(steps, [0, 2, 1, 3]), (time, batch, directions * hidden))
    return [merged, *ends]


def _ordered(s: Scope, cell: str, weight: relax.Expr) -> relax.Expr:
    """Return a weight with its gates in ONNX's order."""
    order = ORDERS[cell]
    if order == (0,):
        return weight
    shape = shape_of(weight)
    if is_constant(weight):
        gates = to_numpy(weight).reshape(len(order), -1, *shape[1:])
        return constant(gates[list(order)].reshape(shape))
    parts = s.emit(relax.op.split(weight, len(order), 0))
    return s.emit(relax.op.concat([s.emit(relax.TupleGetItem(parts, at)) for at in order], 0))


def _joined(s: Scope, parts: Sequence[relax.Expr]) -> relax.Expr:
    if all(map(is_constant, parts)):
        return constant(np.stack([to_numpy(part) for part in parts]))
    spread = [s.emit(relax.op.expand_dims(part, 0)) for part in parts]
    return spread[0] if len(spread) == 1 else s.emit(relax.op.concat(spread, 0))


def _part(s: Scope, state: relax.Expr, first: int, count: int) -> relax.Expr:
    if shape_of(state)[0] == count:
        return state
    if is_constant(state):
        return constant(to_numpy(state)[first : first + count])
    return s.emit(relax.op.strided_slice(state, [0], [first], [first + count]))
