"""How good a model is by a measure of the user's: a function that runs it as it likes.

metric(run) -> float, higher is better          run({input name: array}) -> {output name: array}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sized
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..errors import TvmqError, unknown

if TYPE_CHECKING:
    from ..passes.calibrate.watch import Progress

Run: TypeAlias = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""As ``Package.run``."""
Metric: TypeAlias = Callable[[Run], float]


class MetricError(TvmqError):
    """A metric that raised, or gave no number."""


def value_of(metric: Metric, run: Run) -> float:
    """Return the metric's value; raises ``MetricError`` where it raises, or returns what is no finite number."""
    try:
        value = float(metric(run))
    except TvmqError as error:
        raise MetricError(str(error)) from error
    except Exception as error:
        raise MetricError(f"the metric raised {type(error).__name__}: {error}") from error
    if not math.isfinite(value):
        raise MetricError(f"the metric returned {value}, which is no finite number")
    return value


def name_of(metric: Metric) -> str:
    """Return what tells a metric from others in a search's state."""
    return str(getattr(metric, "name", None) or getattr(metric, "__qualname__", type(metric).__qualname__))


class Top1:
    """The share of samples, in percent, whose largest output is at the label; integers, one a row, are the classes.

    Parameters
    ----------
    pairs : samples with the labels of their rows, integers ``[rows]``; walked through anew for each model.
    name : what tells these pairs from others in a search's state.
    output : the model's output that has a score a class; None takes the first.
    progress : shows how many samples have run; None shows nothing.

    Raises
    ------
    TvmqError : as it is called: no samples; the model has no such output, or one with another number of rows than there
        are labels; a label is none of the model's classes.
    """

    def __init__(
        self,
        pairs: Iterable[tuple[Mapping[str, np.ndarray], np.ndarray]],
        name: str = "top-1",
        progress: Progress | None = None,
        output: str | None = None,
    ) -> None:
        self._pairs = pairs
        self._output = output
        self.name = name if output is None else f"{name}, {output}"
        self._progress = progress

    def __call__(self, run: Run) -> float:
        right = count = 0
        total = len(self._pairs) if isinstance(self._pairs, Sized) else None
        with nullcontext() if self._progress is None else self._progress("accuracy", total) as bar:
            for sample, labels in self._pairs:
                right += _right(self._scores(run(sample)), labels)
                count += len(labels)
                if bar is not None:
                    bar.update(1)
        if not count:
            raise TvmqError("there are no samples to measure the accuracy on")
        return 100.0 * right / count

    def _scores(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        name = next(iter(outputs)) if self._output is None else self._output
        if name not in outputs:
            raise unknown("output for the accuracy", name, outputs)
        return outputs[name]


def _right(scores: np.ndarray, labels: np.ndarray) -> int:
    """Return for how many rows of a sample the largest score is at the label, or an integer is the label."""
    scores = np.atleast_1d(scores)
    scores = scores.reshape(scores.shape[0], -1)
    if len(labels) != len(scores):
        raise TvmqError(f"there are {len(labels)} labels for a sample of {len(scores)} rows")
    if scores.shape[1] == 1 and scores.dtype.kind in "iu":
        return int((scores[:, 0] == labels).sum())
    wrong = labels[(labels < 0) | (labels >= scores.shape[1])]
    if wrong.size:
        raise TvmqError(f"the label {wrong[0]} is none of the model's {scores.shape[1]} classes, from 0 on")
    return int((scores.argmax(1) == labels).sum())
