"""Attention in NumPy, in double precision, as ``compute.attention`` defines it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tvmq.passes.realize.compute.attention import HEADS_FIRST, Attention, Step


def heads_first(array: np.ndarray, order: str) -> np.ndarray:
    """Return an array of that order as ``[B, H, S, D]``, or one of these as an array of that order."""
    return array if order == HEADS_FIRST else array.transpose(0, 2, 1, 3)


def _stepped(step: Step, scores: np.ndarray, operands: Sequence[np.ndarray]) -> np.ndarray:
    if step.kind == "scale":
        return scores * np.float32(step.number)
    operand = operands[step.operand]
    if step.kind == "add":
        return scores + operand
    is_kept = (operand != 0) == (step.kind == "keep")
    return np.where(is_kept, scores, np.float32(step.number))


def reference(
    form: Attention, arrays: Sequence[np.ndarray], operands: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Return the attention before any rounding."""
    query, key, value = (
        heads_first(array, order).astype(np.float64)
        for array, order in zip(arrays, form.orders[:3], strict=True)
    )
    share = query.shape[1] // key.shape[1]
    key, value = np.repeat(key, share, axis=1), np.repeat(value, share, axis=1)
    scores = query @ key.swapaxes(2, 3)
    for step in form.steps:
        scores = _stepped(step, scores, operands)
    with np.errstate(invalid="ignore"):
        power = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return heads_first(power @ value / power.sum(axis=-1, keepdims=True), form.orders[3])
