"""The search for the best schedule of one kernel: what to measure next, and what has been learned."""

from __future__ import annotations

import statistics

import numpy as np

from ..schedules.records import FAILED, Record
from ..targets.row import TargetRow
from .candidates import Candidate, trace_text
from .child import Measured
from .cost_model import CostModel
from .spaces import candidates_of
from .tasks import Task

POOL = 64
"""Candidates that the cost model chooses among."""

NEAR_BEST = 0.5
"""Part of the pool that is drawn near the best candidate so far; the rest is drawn at random."""

BY_MODEL = 0.75
"""Part of a round that the cost model chooses; the rest is random, so that the model meets what it misjudges."""

GAIN = 0.99
"""A time below this part of the best one counts as an improvement."""


class Search:
    """The state of one task.

    Attributes
    ----------
    trials : candidates measured, those of earlier runs included.
    since_gain : of those of this run, how many came after the last improvement.
    best : the least median in seconds; infinite before any.
    default : the median of what the analytic model chooses; None before it is known.
    is_exhausted : every candidate has been measured.
    """

    def __init__(
        self,
        task: Task,
        row: TargetRow,
        threads: int,
        known: list[Record],
        model: CostModel,
        seed: int = 0,
    ) -> None:
        self.task = task
        self.trials = 0
        self.since_gain = 0
        self.best = float("inf")
        self.default: float | None = None
        self._best: Candidate | None = None
        self._known = {trace_text(record.trace): record.seconds for record in known}
        self._model = model
        self._context = model.context(task.workload)
        self._rng = np.random.default_rng(seed)
        self._pool: list[Candidate] = []
        self._exhausted = False
        self._candidates = candidates_of(task.func, row, threads, self._rng)

    @property
    def is_exhausted(self) -> bool:
        return self._exhausted and not self._pool

    def propose(self, count: int) -> list[Candidate]:
        """Return at most ``count`` candidates to measure, none twice; the analytic model's own is the first of all."""
        self._fill()
        if len(self._pool) <= count:
            chosen, self._pool = self._pool, []
            return chosen
        scores = self._model.predict(self._context, self._pool)
        scores[[candidate.is_default for candidate in self._pool]] = np.inf
        order = np.argsort(-scores, kind="stable")
        by_model = max(1, round(BY_MODEL * count))
        picked = [*order[:by_model], *self._rng.permutation(order[by_model:])[: count - by_model]]
        chosen = [self._pool[index] for index in picked]
        self._pool = [item for index, item in enumerate(self._pool) if index not in picked]
        return chosen

    def take(self, candidate: Candidate, measured: Measured) -> None:
        """Note the result of one candidate."""
        seconds = statistics.median(measured.seconds) if measured.seconds else float("inf")
        self._note(candidate, seconds)

    def learn(self, candidates: list[Candidate], results: list[Measured]) -> None:
        """Let the cost model learn from a round."""
        seconds = [statistics.median(result.seconds) if result.seconds else None for result in results]
        self._model.learn(self._context, candidates, seconds)

    def _fill(self) -> None:
        """Draw until the pool is full. A candidate that has a record is taken as measured."""
        learned: list[tuple[Candidate, float]] = []
        while len(self._pool) < POOL:
            near = self._best.choices if self._best is not None else None
            candidate = self._candidates.draw(near if self._rng.random() < NEAR_BEST else None)
            if candidate is None:
                self._exhausted = True
                break
            seconds = self._known.get(candidate.trace)
            if seconds is None:
                self._pool.append(candidate)
                continue
            self._note(candidate, seconds if seconds < FAILED else float("inf"))
            learned.append((candidate, seconds))
        if learned:
            self.since_gain = 0
            self._model.learn(
                self._context,
                [candidate for candidate, _ in learned],
                [seconds if seconds < FAILED else None for _, seconds in learned],
            )

    def _note(self, candidate: Candidate, seconds: float) -> None:
        self.trials += 1
        self.since_gain += 1
        if candidate.is_default:
            self.default = seconds
        if seconds < GAIN * self.best:
            self.since_gain = 0
        if seconds < self.best:
            self.best, self._best = seconds, candidate
