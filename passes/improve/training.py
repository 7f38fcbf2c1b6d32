"""Training a block: batches of records, the squared error of its results, and steps of Adam.

    loss = sum over the results  sum_p w_p |y_p - t_p|^2 / sum_p w_p |t_p|^2,    w_p = 1 / (|t_p|^2 + f mean |t|^2)

``p`` is a place of an image, or a row: each counts by its relative error. Some networks have places whose values are
tens of times as large as all others', and that later layers clip; without the weights only those would be learned.

A random share of the activations of fewer than 8 bits stays float in each step, and of the block's input as well (Wei
et al., "QDrop", 2022), which keeps few samples from being learned by heart. Adam does not mind the loss's unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import TvmqError
from ..calibrate.spool import Spool
from .learned import Parameter, Rates, kept, mix
from .trainable import Through, Trainable

FLOOR = 0.1
"""``f``: places with next to nothing do not count more than others."""
WARM_UP = 30
"""Steps until the rates are what they are called: Adam knows the sizes of the gradients by then."""

Record = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]
"""Of one sample: a block's inputs in the float model and in the quantized one, and its results in the float model."""


@dataclass(frozen=True)
class Learning:
    """How a block learns.

    Attributes
    ----------
    steps : of Adam, whose rates rise over the first few and then fall linearly to zero.
    ahead : steps after those in which what follows the block is seen too; 0 for none.
    batch : samples a step.
    drop : share of the activations that stay float in the first step, 0 to 1; it falls linearly to zero.
    rates : of learning.
    seed : of all that is random.
    """

    steps: int = 300
    ahead: int = 150
    batch: int = 12
    drop: float = 0.3
    rates: Rates = Rates()
    seed: int = 0

    def __post_init__(self) -> None:
        for which, least in (("steps", 1), ("ahead", 0), ("batch", 1)):
            if getattr(self, which) < least:
                raise TvmqError(f"{which} of learning must be at least {least}, got {getattr(self, which)}")
        if not 0.0 <= self.drop < 1.0:
            raise TvmqError(f"drop must be at least 0 and less than 1, got {self.drop}")


def error_of(block: Trainable | Through, records: Iterable[Record]) -> float:
    """Return the mean loss over the records."""
    losses = [
        sum(
            float(np.vdot(_gradient(result, target), result - target))
            for result, target in zip(block.forward(quantized), targets, strict=True)
        )
        for _, quantized, targets in records
    ]
    return float(np.mean(losses))


def learn(block: Trainable | Through, records: Spool[Record], learning: Learning, bar: Any) -> None:
    """Move the block's parameters so that its results come nearer to the targets; ``bar`` counts steps."""
    rng = np.random.default_rng(learning.seed)
    batches = _batches(records, learning.batch, rng)
    parameters = block.parameters
    for parameter in parameters:
        parameter.restart()
    for count in range(learning.steps):
        exact, inputs, targets = next(batches)
        drop = learning.drop * (1.0 - count / learning.steps)
        for step in block.steps.values():
            step.drop = drop
        if block.steps:
            for array, other in zip(inputs, exact, strict=True):
                mix(array, other, kept(array.shape, drop, rng))
        results = block.forward(inputs)
        block.backward([_gradient(result, target) for result, target in zip(results, targets, strict=True)])
        _step(parameters, count, learning.steps)
        if bar is not None:
            bar.update(1)
    for step in block.steps.values():
        step.drop = 0.0


def _gradient(result: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return half the gradient of the loss with respect to a result."""
    squares = np.square(target).mean(axis=-1, keepdims=True)
    if not squares.any():  # nothing that an error could be relative to
        return result - target
    weights = 1.0 / (squares + FLOOR * squares.mean())
    norm = (weights * squares).sum() * target.shape[-1]
    return (result - target) * (weights / norm)


def _step(parameters: Iterable[Parameter], count: int, total: int) -> None:
    share = min(1.0, (count + 1) / WARM_UP) * (1.0 - count / total)
    for parameter in parameters:
        parameter.step(share)


def _batches(records: Spool[Record], size: int, rng: np.random.Generator) -> Iterator[Record]:
    """Give records joined along their first axis, each record once before any comes again."""
    waiting: list[int] = []
    while True:
        while len(waiting) < size:
            waiting.extend(rng.permutation(records.count).tolist())
        chosen, waiting = waiting[:size], waiting[size:]
        parts = [records[index] for index in chosen]
        exact, inputs, targets = (
            [np.concatenate(arrays) for arrays in zip(*group, strict=True)]
            for group in zip(*parts, strict=True)
        )
        yield exact, inputs, targets
