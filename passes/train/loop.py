"""Fine-tuning: batches, steps, a look at the samples held out now and then, and the best state in the end.

    for each step:   targets of the teacher  ->  losses and gradients  ->  the optimizer moves all parameters
    now and then:    the error on samples held out; the state with the least is what is taken

A state with NaN or infinity is not gone on from: the last good one is, with half the rate. The error held out is that
of the network as it will be, all weights rounded and no activation dropped.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import TvmqError
from ..annotate.learning import FineTuneOptions
from ..calibrate.watch import Progress
from .batches import Batch, Data
from .checkpoint import Checkpoint
from .network import Network
from .norms import FROZEN_FROM, MOMENTUM
from .optimizers import Optimizer, schedule
from .oscillation import Oscillations
from .parameter import AVERAGES, PLACES
from .vector import Vector

logger = logging.getLogger(__name__)

LOOKS, APART = 20, 10
"""How often the samples held out are looked at, and steps between two looks, at least."""
TIMED = 3
"""Steps by which it is told how many fit into a budget; the first, which touches new memory, is not among them."""
SMALLEST_RATE = 1e-3
"""Share of the rate below which NaN is not answered by a smaller one."""
_STEP = 3
"""Of the random streams, beside those of ``batches``."""
FEWEST = 20
"""Steps that are taken whatever the budget."""


@dataclass(frozen=True)
class Found:
    """What came of it.

    Attributes
    ----------
    values : of the parameters, by their keys.
    before, after : errors on the samples held out.
    agreement : the shares of these whose class is the teacher's, before and after; None without classes.
    steps : taken.
    """

    values: dict[str, np.ndarray]
    before: float
    after: float
    agreement: tuple[float, float] | None
    steps: int


@dataclass(frozen=True)
class _HeldOut:
    """The error on the samples held out, and how many of their classes are the teacher's; None without classes."""

    error: float
    agreement: float | None


class Loop:
    """One fine-tuning.

    Parameters
    ----------
    network, data : what learns from what.
    options : how.
    checkpoint : where the state is kept.
    progress : shows the steps.
    """

    def __init__(
        self,
        network: Network,
        data: Data,
        options: FineTuneOptions,
        checkpoint: Checkpoint,
        progress: Progress | None = None,
    ):
        self._network, self._data, self._options = network, data, options
        self._checkpoint, self._progress = checkpoint, progress
        self._vector = Vector(network.student.parameters)
        parameters = self._vector.parameters
        decays = [options.decay if parameter.kind == PLACES else 0.0 for parameter in parameters]
        self._optimizer = Optimizer.of(options.optimizer, self._vector.units, self._vector.like(decays))
        self._places = self._vector.like([parameter.kind == PLACES for parameter in parameters]) > 0
        self._averages = self._vector.like([parameter.kind in AVERAGES for parameter in parameters]) > 0
        self._oscillations = (
            Oscillations(self._vector.values[self._places], options.freeze) if options.freeze else None
        )
        self._total, self._slower = options.steps, 1.0
        self._best, self._best_values = math.inf, self._vector.values.copy()

    def run(self) -> Found:
        """Return the best state.

        Raises
        ------
        TvmqError : the losses are NaN or infinite whatever the rate; the checkpoint cannot be read or written.
        """
        before = self._look()
        if not math.isfinite(before.error):
            raise TvmqError(
                "fine-tuning cannot begin: the quantized model's error on its samples is no number"
            )
        self._best = before.error
        first = self._resume()
        saved = started = time.monotonic()
        good = self._state()
        with self._bar(first) as bar, ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self._batches, first)
            for step in itertools.takewhile(lambda step: step < self._total, itertools.count(first)):
                batches = coming.result()
                coming = pool.submit(self._batches, step + 1)
                losses = self._step(step, batches)
                if np.isfinite(losses).all() and np.isfinite(self._vector.values).all():
                    self._within_budget(step - first, started)
                else:
                    self._go_back(good, step)
                if bar is not None:
                    bar.update(1)
                if self._looks_at(step + 1):
                    found = self._look()
                    if math.isfinite(found.error):
                        good = self._state()
                    self._keep(found)
                    _say(bar, self._network.total(losses), found)
                if time.monotonic() - saved > self._options.checkpoint_every:
                    self._save(step + 1)
                    saved = time.monotonic()
        self._save(self._total)
        self._vector.values[...] = self._best_values
        after = self._look()
        agreement = None if before.agreement is None else (before.agreement, after.agreement)
        return Found(
            {key: view.copy() for key, view in self._vector.named().items()},
            before.error,
            after.error,
            agreement,
            self._total,
        )

    # What a step does.

    @property
    def _parts(self) -> int:
        """How many batches of the network's a step has."""
        return -(-self._options.batch // self._network.batch)

    def _batches(self, step: int) -> list[Batch]:
        first = step * self._parts
        return [self._data.batch(part, self._network.batch) for part in range(first, first + self._parts)]

    def _step(self, step: int, batches: Sequence[Batch]) -> np.ndarray:
        """Move the parameters, where all is finite; return the losses."""
        network, options = self._network, self._options
        share = step / self._total
        rng = np.random.default_rng((options.seed, _STEP, step))
        given = self._vector.values
        own_statistics = float(share < FROZEN_FROM)
        if options.stochastic:
            given = given + self._places * (rng.random(given.size, np.float32) - np.float32(0.5))
        parameters = self._vector.views(given)
        gradient, losses = self._vector.empty(given.size), np.zeros(len(network.terms))
        for batch in batches:
            each, _, parts = network.run(
                batch.inputs,
                network.targets(network.taught(batch.inputs), batch.labels),
                parameters,
                self._finer(share),
                int(rng.integers(2**31)),
                options.drop * (1.0 - share),
                own_statistics,
            )
            losses += each / len(batches)
            for view, part in zip(self._vector.views(gradient), parts, strict=True):
                view += part
        gradient /= np.float32(len(batches))
        if np.isfinite(losses).all():
            if network.student.statistics:
                self._follow(gradient, own_statistics)
            self._move(gradient, options.rate * self._slower * schedule(step, self._total))
        return losses

    def _follow(self, gradient: np.ndarray, share: float) -> None:
        """Let the averages follow what the batch showed, which stands in place of their gradients, and clear it."""
        averages = self._vector.values[self._averages]
        change = gradient[self._averages] - averages
        self._vector.values[self._averages] = averages + np.float32(share * (1.0 - MOMENTUM)) * change
        gradient[self._averages] = 0.0

    def _move(self, gradient: np.ndarray, rate: float) -> None:
        if self._oscillations is None:
            self._optimizer.step(self._vector.values, gradient, rate)
            return
        frozen, kept = self._oscillations.frozen, self._vector.values[self._places]
        self._optimizer.step(self._vector.values, gradient, rate)
        places = self._vector.values[self._places]
        places[frozen] = kept[frozen]
        self._oscillations.update(places)
        self._vector.values[self._places] = places

    def _finer(self, share: float) -> float:
        """Return how much finer steps of few bits are: those of the stage's bits, and in the end their own."""
        stages = self._options.progressive
        place = int(share * (len(stages) + 1))
        return float(2 ** max(0, stages[place] - self._network.fewest)) if place < len(stages) else 1.0

    # The samples held out.

    def _look(self) -> _HeldOut:
        network, data = self._network, self._data
        errors, same, count = [], 0, 0
        for batch in data.held_out(network.batch):
            error, results, taught = self._error(batch)
            errors.append(error)
            if network.scores is not None:
                place = network.scores - network.results
                same += int((results[place].argmax(-1) == taught[place].argmax(-1)).sum())
                count += len(results[place])
        errors.extend(self._error(batch)[0] for batch in data.held_views(network.batch))
        return _HeldOut(float(np.mean(errors)), same / count if count else None)

    def _error(self, batch: Batch) -> tuple[float, list[np.ndarray], list[np.ndarray]]:
        """Return the loss of a batch, the results, and the teacher's."""
        taught = self._network.taught(batch.inputs)
        targets = self._network.targets(taught, batch.labels)
        losses, results, _ = self._network.run(batch.inputs, targets, self._vector.views(self._vector.values))
        return self._network.total(losses), results, taught

    def _looks_at(self, step: int) -> bool:
        return step % max(APART, self._total // LOOKS) == 0 or step == self._total

    def _keep(self, found: _HeldOut) -> None:
        if found.error < self._best:
            self._best, self._best_values = found.error, self._vector.values.copy()

    # Budget, errors, checkpoints.

    def _within_budget(self, done: int, started: float) -> None:
        """Take fewer steps where all of them would take longer than the budget."""
        budget = self._options.budget
        if budget is None or done != TIMED:
            return
        each = (time.monotonic() - started) / (TIMED + 1)
        most = max(FEWEST, int(budget / each))
        if most < self._total:
            logger.info("fine-tuning takes %d of %d steps within %.0f s", most, self._total, budget)
            self._total = most

    def _go_back(self, good: dict[str, np.ndarray], step: int) -> None:
        """Go on from the last good state, more slowly."""
        self._slower *= 0.5
        if self._slower < SMALLEST_RATE:
            raise TvmqError(
                f"fine-tuning: the loss is no number in step {step}, with {self._slower:g} of the rate too"
            )
        logger.warning(
            "fine-tuning: the loss is no number in step %d; going on from the last good state with %g of the rate",
            *(step, self._slower),
        )
        self._restore(good)

    def _state(self) -> dict[str, np.ndarray]:
        arrays = {"values": self._vector.values.copy(), "moments": self._optimizer.moments.copy()}
        if self._oscillations is not None:
            arrays |= {name: array.copy() for name, array in self._oscillations.state().items()}
        return arrays

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._vector.values[...] = arrays["values"]
        self._optimizer.moments[...] = arrays["moments"]
        if self._oscillations is not None:
            self._oscillations.restore({name: array.copy() for name, array in arrays.items()})

    def _save(self, step: int) -> None:
        numbers = {
            "step": step,
            "total": self._total,
            "slower": self._slower,
            "best": self._best,
            "count": self._optimizer.count,
        }
        self._checkpoint.write({**self._state(), "best_values": self._best_values}, numbers)

    def _resume(self) -> int:
        """Take the state of the checkpoint, where there is one; return the first step."""
        found = self._checkpoint.read()
        if found is None:
            self._save(0)  # whoever cannot write it should hear of it now
            return 0
        arrays, numbers = found
        self._restore(arrays)
        self._best_values = arrays["best_values"]
        self._best, self._slower = numbers["best"], numbers["slower"]
        self._total, self._optimizer.count = numbers["total"], numbers["count"]
        logger.info("fine-tuning goes on from step %d of %d", numbers["step"], self._total)
        return int(numbers["step"])

    def _bar(self, first: int) -> AbstractContextManager[Any]:
        if self._progress is None:
            return nullcontext()
        return self._progress("fine-tune", self._total - first)


def _say(bar: Any, loss: float, found: _HeldOut) -> None:
    """Show the loss and what is held out behind the bar, where it is one that shows text."""
    if bar is None or not hasattr(bar, "set_postfix_str"):
        return
    same = "" if found.agreement is None else f", {100 * found.agreement:.1f} % agree"
    bar.set_postfix_str(f"loss {loss:.4f}, held out {found.error:.4f}{same}")
