"""How long a mixture takes on the target: compiled, run and timed kernel by kernel.

    time of a run = the times of the layers' kernels at their bits + the rest            all measured, none modelled

A layer's time at some bits is taken from a run in which all layers have them; what a mixture takes is measured again,
since a layer in float between two on integers costs conversions too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from tvm import IRModule

from ..errors import TvmqError
from ..passes.calibrate.sample_check import Sample
from ..runtime.package import Package
from .recipe import FLOAT, Recipe, options_with
from .solver import Assignment, Choices, cheapest, total
from .state import SearchState

ROUNDS = 5
"""In which the time for the layers is made shorter while a run takes longer than it should."""
RUNS = 20
"""Of the model for each timing: the median for the run, the mean for the kernels."""


@dataclass(frozen=True)
class Timing:
    """Seconds of a run, and of the kernels of each layer in it."""

    run: float
    layers: Mapping[str, float]


class Stopwatch:
    """Times mixtures of a model.

    Parameters
    ----------
    mod : the prepared module.
    recipe : how it is quantized.
    calibrated : the same with parameters of its activations.
    compile : a Q/DQ module --> the package; it must run on this machine.
    sample : what is run.
    """

    def __init__(
        self,
        mod: IRModule,
        recipe: Recipe,
        calibrated: IRModule,
        compile: Callable[[IRModule], Package],
        sample: Sample,
    ) -> None:
        self._mod = mod
        # Times do not depend on how weights were rounded.
        options = dataclasses.replace(recipe.options, rounding="nearest", bias_correction="none")
        self._recipe = dataclasses.replace(recipe, options=options)
        self._calibrated = calibrated
        self._compile = compile
        self._sample = sample

    def time(self, bits: Mapping[str, int]) -> Timing:
        """Return the times of a mixture; raises ``TvmqError`` where this machine is not the target."""
        skipped = [layer for layer, count in bits.items() if count == FLOAT]
        quantized = {layer: count for layer, count in bits.items() if count != FLOAT}
        recipe = self._recipe.without(skipped, self._mod, self._calibrated)
        recipe = dataclasses.replace(recipe, options=options_with(recipe.options, quantized))
        package = self._compile(recipe.quantized(self._mod))
        layers: dict[str, float] = {}
        for call in package.profile(self._sample, RUNS):
            # A kernel counts for the layer that the others are fused into: of those here there is one in each.
            for layer in [name for name in call.layers if name in bits][:1]:
                layers[layer] = layers.get(layer, 0.0) + call.seconds
        return Timing(float(np.median(package.time(self._sample, repeat=RUNS))), layers)


class LatencyBudget:
    """The time that a run may take, and what the layers take of it.

    Parameters
    ----------
    seconds : that a run may take.
    candidates : of each layer.
    """

    def __init__(
        self,
        seconds: float,
        candidates: Mapping[str, tuple[int, ...]],
        stopwatch: Stopwatch,
        state: SearchState,
    ) -> None:
        self._seconds = seconds
        self._stopwatch = stopwatch
        self._state = state
        self._uniform = {
            bits: dict.fromkeys(candidates, bits) for tried in candidates.values() for bits in tried
        }
        timing = cache(lambda bits: stopwatch.time(self._uniform[bits]))

        def run_time(bits: int) -> float:
            return state.measure(f"seconds all {bits}", lambda: timing(bits).run)

        def layer_time(layer: str, bits: int) -> float:
            return state.measure(f"seconds {layer} {bits}", lambda: timing(bits).layers.get(layer, 0.0))

        self._runs = {bits: run_time(bits) for bits in self._uniform}
        self.costs: Choices = {
            layer: {bits: layer_time(layer, bits) for bits in tried} for layer, tried in candidates.items()
        }

    def best(self, choose: Callable[[float], Assignment | None]) -> Assignment:
        """Return the best choice that holds as a whole.

        Parameters
        ----------
        choose : the best assignment whose layers' times have this sum; None for no such.

        Raises
        ------
        TvmqError : nothing that was measured is as fast; it names the smallest time.
        """
        quickest = cheapest(self.costs)
        slowest = max(self._runs, key=lambda bits: self._runs[bits])
        time = self._seconds - (self._runs[slowest] - total(self.costs, self._uniform[slowest]))
        measured = list(self._runs.values())
        for _ in range(ROUNDS):
            choice = choose(time) or quickest
            taken = self.run_time(choice)
            if taken <= self._seconds:
                return choice
            measured.append(taken)
            if choice == quickest:
                break
            time -= taken - self._seconds
        fastest = min(self._runs, key=lambda bits: self._runs[bits])
        if self._runs[fastest] <= self._seconds:
            return self._uniform[fastest]
        raise TvmqError(
            f"a run cannot take {self._seconds * 1e3:g} ms: the shortest that was measured takes "
            f"{min(measured) * 1e3:.4g} ms"
        )

    def run_time(self, assignment: Assignment) -> float:
        """Return the measured seconds of a run."""
        name = ",".join(str(bits) for bits in assignment.values())
        return self._state.measure(f"seconds of {name}", lambda: self._stopwatch.time(assignment).run)
