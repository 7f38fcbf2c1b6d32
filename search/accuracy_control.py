"""Layers go back to float one by one, worst first, until a metric of the user's is close enough to the float model's.

    rank layers by what each alone, quantized, takes off the outputs        (``search.sensitivity``)
    while metric(float) - metric(model) > max_drop: the next of them back to float, quantize again, measure again

As in the accuracy-aware mode of NNCF. What is measured is each time the whole model as it would be returned, in its
simulation, on which all else (bias correction, rounding for the layer's result) has been done again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

import numpy as np
from tvm import IRModule

from ..errors import TvmqError
from ..passes.calibrate.sample_check import Sample
from ..passes.calibrate.watch import Runner
from ..passes.hub.graph import output_names, tupled
from .metrics import Metric, MetricError, Run, name_of, value_of
from .mixtures import mixtures_of
from .recipe import Recipe
from .sensitivity import sensitivity
from .state import SearchState

logger = logging.getLogger(__name__)

QUANTIZED = 8
"""Stands for whatever bits a layer has by the recipe."""


class Built(Protocol):
    """A quantized model."""

    @property
    def mod(self) -> IRModule: ...


Model = TypeVar("Model", bound=Built)


@dataclass(frozen=True)
class Controlled(Generic[Model]):
    """What control of the accuracy came to.

    Attributes
    ----------
    model : the quantized model with the best value that was measured.
    reference, value : of the metric: the float model's, and this model's.
    reverted : names of the layers that went back to float, in that order.
    holds : whether the value is within the drop that was allowed.
    """

    model: Model
    reference: float
    value: float
    reverted: tuple[str, ...]
    holds: bool


def control_accuracy(
    mod: IRModule,
    recipe: Recipe,
    build: Callable[[Recipe], Model],
    metric: Metric,
    max_drop: float,
    samples: int,
    state: SearchState,
) -> Controlled[Model]:
    """Return the prepared float module quantized, with as many of its layers in float as it takes.

    Where no number of layers is enough, the best is returned and a warning logged; where the metric fails on the way
    (it raises, or returns what is no number), so is the best until then.

    Parameters
    ----------
    build : quantizes the module by a recipe.
    metric : of a model, the higher the better.
    max_drop : how far below the float model's it may be.
    samples : number of calibration samples that layers are ranked on.

    Raises
    ------
    TvmqError : the metric fails for the float model, or for the model with all layers quantized.
    """
    attempts = _Attempts(mod, recipe, build, metric, state)
    reference = state.measure(
        f"{name_of(metric)} float", lambda: value_of(metric, named_run(mod, recipe.data.runner))
    )
    best = last = _Attempt((), attempts.value(()))
    ranked: list[str] = []
    if reference - last.value > max_drop:
        ranked = attempts.ranked(samples)
    progress = recipe.data.progress
    with nullcontext() if progress is None else progress("layers back to float", len(ranked)) as bar:
        for layer in ranked:
            try:
                last = _Attempt((*last.layers, layer), attempts.value((*last.layers, layer)))
            except MetricError as error:
                logger.warning("%s; the search stops, and keeps the best that it has", error)
                break
            if last.value > best.value:
                best = last
            if bar is not None:
                bar.update(1)
            if reference - last.value <= max_drop:
                break
    holds = reference - best.value <= max_drop
    if not holds:
        logger.warning(
            "the accuracy is not within %g of the float model's %g: %g is the best, with %d layers in float",
            max_drop,
            reference,
            best.value,
            len(best.layers),
        )
    return Controlled(attempts.model(best.layers), reference, best.value, best.layers, holds)


def named_run(mod: IRModule, runner: Runner) -> Run:
    """Return a function from inputs to outputs, both by name, that runs a module of floats as it stands."""
    names = output_names(mod)
    run = runner(tupled(mod))

    def by_name(inputs: Sample) -> dict[str, np.ndarray]:
        return dict(zip(names, run(dict(inputs)), strict=True))

    return by_name


@dataclass(frozen=True)
class _Attempt:
    layers: tuple[str, ...]
    value: float


class _Attempts(Generic[Model]):
    """Quantizes the model with layers in float, and measures it."""

    def __init__(
        self,
        mod: IRModule,
        recipe: Recipe,
        build: Callable[[Recipe], Model],
        metric: Metric,
        state: SearchState,
    ) -> None:
        self._mod, self._recipe, self._build = mod, recipe, build
        self._metric, self._state = metric, state
        self._calibrated: IRModule | None = None
        self._built: dict[tuple[str, ...], Model] = {}

    def value(self, layers: tuple[str, ...]) -> float:
        """Return the metric of the model with these layers in float; raises ``MetricError``."""
        return self._state.measure(
            f"{name_of(self._metric)} {' '.join(('quantized', *layers))}",
            lambda: value_of(self._metric, named_run(self.model(layers).mod, self._recipe.data.runner)),
        )

    def model(self, layers: tuple[str, ...]) -> Model:
        """Return the model with these layers in float; the last one is kept."""
        if layers not in self._built:
            recipe = self._recipe
            if layers and self._calibrated is not None:
                recipe = recipe.without(layers, self._mod, self._calibrated)
            self._built = {layers: self._build(recipe)}
        return self._built[layers]

    def ranked(self, samples: int) -> list[str]:
        """Return the names of all quantized layers, the most sensitive first."""
        few = list(islice(self._recipe.data.samples, samples))
        if not few:
            raise TvmqError("there are no calibration samples; at least one is needed")
        mixtures = mixtures_of(self._mod, self._recipe, {QUANTIZED: {}}, few)
        self._calibrated = mixtures.calibrated
        errors = sensitivity(
            mixtures,
            {layer.name: (QUANTIZED,) for layer in mixtures.layers},
            self._state,
            self._recipe.data.progress,
        )
        return sorted(errors, key=lambda layer: -errors[layer][QUANTIZED])
