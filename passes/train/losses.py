"""Distances of a network's results from their targets, with their gradients.

    squares    sum_p w_p |y_p - t_p|^2 / sum_p w_p |t_p|^2,    w_p = 1 / (|t_p|^2 + f mean |t|^2)
    classes    mean over rows of KL(softmax(t / T) | softmax(y / T)) T^2     (Hinton et al., "Distilling", 2015)
    labels     mean over rows of -log softmax(y)[t]

``p`` is a place of an image, or a row: each counts by its relative error. Some networks have places whose values are
tens of times as large as all others', and that later layers clip; without the weights only those would be learned.
``f`` is that of ``passes.improve.training``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import relax

from ..hub.graph import number, shape_of
from ..improve.training import FLOOR

Loss = Callable[[relax.BlockBuilder, relax.Expr, relax.Expr], tuple[relax.Expr, relax.Expr]]
"""``(builder, result, target) -> (loss, float32 of shape (), gradient of the result)``; channels last."""


def squares(
    builder: relax.BlockBuilder, result: relax.Expr, target: relax.Expr
) -> tuple[relax.Expr, relax.Expr]:
    """Return the relative squared error of a float32 tensor."""
    emit = builder.emit
    channels = shape_of(target)[-1]
    energy = emit(relax.op.mean(emit(relax.op.multiply(target, target)), [-1], keepdims=True))
    floor = emit(
        relax.op.add(emit(relax.op.multiply(emit(relax.op.mean(energy)), number(FLOOR))), number(1e-30))
    )
    weights = emit(relax.op.divide(number(1.0), emit(relax.op.add(energy, floor))))
    norm = emit(
        relax.op.multiply(emit(relax.op.sum(emit(relax.op.multiply(weights, energy)))), number(channels))
    )
    shares = emit(relax.op.divide(weights, emit(relax.op.add(norm, number(1e-30)))))
    change = emit(relax.op.subtract(result, target))
    weighted = emit(relax.op.multiply(change, shares))
    loss = emit(relax.op.sum(emit(relax.op.multiply(weighted, change))))
    return loss, emit(relax.op.multiply(weighted, number(2.0)))


def classes(temperature: float = 1.0) -> Loss:
    """Return the divergence of the classes' distributions, of logits ``[..., C]``."""

    def loss(
        builder: relax.BlockBuilder, result: relax.Expr, target: relax.Expr
    ) -> tuple[relax.Expr, relax.Expr]:
        emit = builder.emit
        rows = int(np.prod(shape_of(result)[:-1]))
        inverse = number(1.0 / temperature)
        student, teacher = (emit(relax.op.multiply(value, inverse)) for value in (result, target))
        wanted, found = emit(relax.op.nn.softmax(teacher)), emit(relax.op.nn.softmax(student))
        logs = [emit(relax.op.nn.log_softmax(value)) for value in (teacher, student)]
        each = emit(relax.op.multiply(wanted, emit(relax.op.subtract(*logs))))
        value = relax.op.multiply(emit(relax.op.sum(each)), number(temperature**2 / rows))
        change = emit(relax.op.subtract(found, wanted))
        return emit(value), emit(relax.op.multiply(change, number(temperature / rows)))

    return loss


def labels(
    builder: relax.BlockBuilder, result: relax.Expr, target: relax.Expr
) -> tuple[relax.Expr, relax.Expr]:
    """Return the cross entropy of logits ``[N, C]`` with shares of classes, float32 ``[N, C]``."""
    emit = builder.emit
    rows = number(1.0 / shape_of(result)[0])
    logs = emit(relax.op.nn.log_softmax(result))
    value = relax.op.negative(emit(relax.op.sum(emit(relax.op.multiply(target, logs)))))
    change = emit(relax.op.subtract(emit(relax.op.nn.softmax(result)), target))
    return emit(relax.op.multiply(emit(value), rows)), emit(relax.op.multiply(change, rows))


def linear(
    builder: relax.BlockBuilder, result: relax.Expr, target: relax.Expr
) -> tuple[relax.Expr, relax.Expr]:
    """Return the sum of a result times the target, whose gradient the target is: for a loss that others compute."""
    return builder.emit(relax.op.sum(builder.emit(relax.op.multiply(result, target)))), target
