"""How good a model's answers are: against the labels, and against the float model's answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .engines import Run


@dataclass(frozen=True)
class Accuracy:
    """Quality over the evaluated samples.

    Attributes
    ----------
    top1 : share of samples whose predicted class is the label; None where there are no labels.
    agreement : share whose predicted class is the float model's.
    cosine : mean over the samples of the cosine between the logits and the float model's.
    """

    top1: float | None
    agreement: float
    cosine: float


def predict(run: Run, samples: np.ndarray, advance: Callable[[], None]) -> np.ndarray:
    """Return the logits, float32 ``[n, classes]``, one sample at a time; ``advance`` is called after each."""
    logits = []
    for sample in samples:
        logits.append(run(sample[None]).reshape(-1))
        advance()
    return np.stack(logits)


def assess(logits: np.ndarray, reference: np.ndarray, labels: np.ndarray | None) -> Accuracy:
    """Compare logits with the float model's, both ``[n, classes]``, and with int64 labels ``[n]`` if there are any."""
    predicted = logits.argmax(1)
    norms = np.linalg.norm(logits, axis=1) * np.linalg.norm(reference, axis=1)
    cosine = np.einsum("nc,nc->n", logits, reference) / norms
    return Accuracy(
        top1=None if labels is None else float((predicted == labels).mean()),
        agreement=float((predicted == reference.argmax(1)).mean()),
        cosine=float(cosine.mean()),
    )
