"""Training a block: batches of records, the squared error of its results, and steps of Adam.

    loss = sum over the block's results of |y - target|^2

A random share of the activations of fewer than 8 bits stays float in each step, and of the block's input as well (Wei
et al., "QDrop", 2022), which keeps few samples from being learned by heart. Adam does not mind the loss's unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import TvmqError
from ..spool import Spool
from .learned import Rates, kept
from .trainable import Trainable

Record = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]
"""Of one sample: a block's inputs in the float model and in the quantized one, and its results in the float model."""


@dataclass(frozen=True)
class Learning:
    """How a block learns.

    Attributes
    ----------
    steps : of Adam, whose rates fall linearly to zero.
    batch : samples a step.
    drop : share of the activations that stay float in each step, 0 to 1.
    rates : of learning.
    seed : of all that is random.
    """

    steps: int = 400
    batch: int = 16
    drop: float = 0.25
    rates: Rates = Rates()
    seed: int = 0

    def __post_init__(self) -> None:
        for which in ("steps", "batch"):
            if getattr(self, which) < 1:
                raise TvmqError(f"{which} of learning must be at least 1, got {getattr(self, which)}")
        if not 0.0 <= self.drop < 1.0:
            raise TvmqError(f"drop must be at least 0 and less than 1, got {self.drop}")


def error_of(block: Trainable, records: Iterable[Record]) -> float:
    """Return the squared error of the block's results over all records, as a share of the targets' squares."""
    error = norm = 0.0
    for _, quantized, targets in records:
        for result, target in zip(block.forward(quantized), targets, strict=True):
            error += float(np.square(result - target).sum(dtype=np.float64))
            norm += float(np.square(target).sum(dtype=np.float64))
    return error / norm if norm else error


def learn(block: Trainable, records: Spool[Record], learning: Learning, bar: Any) -> None:
    """Move the block's parameters so that its results come nearer to the targets; ``bar`` counts steps."""
    rng = np.random.default_rng(learning.seed)
    batches = _batches(records, learning.batch, rng)
    parameters = block.parameters
    for step in block.steps.values():
        step.drop = learning.drop
    for count in range(learning.steps):
        exact, inputs, targets = next(batches)
        if block.steps and learning.drop:
            for array, other in zip(inputs, exact, strict=True):
                np.copyto(array, other, where=kept(array.shape, learning.drop, rng))
        results = block.forward(inputs)
        block.backward([result - target for result, target in zip(results, targets, strict=True)])
        for parameter in parameters:
            parameter.step(1.0 - count / learning.steps)
        if bar is not None:
            bar.update(1)
    for step in block.steps.values():
        step.drop = 0.0


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
