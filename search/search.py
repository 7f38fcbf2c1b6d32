"""The bits of each layer's weights: the best within a budget of size or time, or the smallest that keep a bound.

    sensitivity of single layers  ->  integer linear program  ->  neighbours of its choice, measured

Every measurement is kept by its name in the search's state, and all else follows from them in a fixed order: a search
that was killed is resumed by running it again.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from tvm import IRModule

from ..errors import TvmqError
from ..passes.annotate.annotate import Annotate
from ..passes.annotate.selection import matches
from ..passes.calibrate.sample_check import Sample
from ..passes.calibrate.watch import Progress
from ..passes.hub.fingerprint import fingerprint
from ..passes.hub.graph import output_names
from ..runtime.package import Package
from .found import Found
from .latency import LatencyBudget, Stopwatch
from .layers import QuantizedLayer, quantized_layers
from .metrics import Metric, MetricError, name_of, value_of
from .mixtures import mixtures_of
from .options import MIN_COSINE, BitBudget, SearchOptions, seconds
from .recipe import FLOAT, Recipe
from .refine import least_cost, least_error
from .sensitivity import sensitivity
from .solver import Assignment, cheapest, total
from .state import SearchState

logger = logging.getLogger(__name__)

SLACK = 1e-9
"""By which a metric's drop may pass the one that is allowed: what a difference of two floats is off."""


def search_bits(
    mod: IRModule, recipe: Recipe, options: SearchOptions, compile: Callable[[IRModule], Package]
) -> Found | None:
    """Return the bits of the layers of a prepared float module; None where the user's options say them all.

    Parameters
    ----------
    compile : a Q/DQ module --> a package, for a budget of time.

    Raises
    ------
    TvmqError : no layer to choose bits for; a budget that cannot be kept, with the smallest that can; no samples; a
        state of another search; a metric that fails before anything was found.
    """
    if recipe.options.weight_bits is not None:
        raise TvmqError("weight_bits has no effect where bits are searched for; bits of single layers have")
    space = _Space.of(mod, recipe, options)
    if not space.free:
        return None
    search = _Search(mod, recipe, options, space)
    if options.bit_budget is not None:
        assignment = search.within_size(BitBudget.parse(options.bit_budget))
    elif options.latency_budget is not None:
        assignment = search.within_time(seconds(options.latency_budget), compile)
    elif options.metric is not None:
        assignment = search.keeping_metric(options.metric, options.max_drop)
    else:
        assignment = search.keeping_cosine(options.min_cosine or MIN_COSINE)
    found = Found(assignment, space.weights, space.bytes(assignment), 1.0 - search.error(assignment))
    logger.info(found.summary)
    if options.output is not None:
        found.write(options.output, recipe.rounding)
    return found


def byte_count(weights: int, bits: int) -> int:
    """Return the bytes of so many weights, which begin at a byte."""
    return -(-weights * bits // 8)


@dataclass(frozen=True)
class _Space:
    """What there is to choose.

    Attributes
    ----------
    free : the number of weights of each layer that gets bits.
    fixed : the other layers.
    candidates : the bits that there are.
    """

    free: dict[str, int]
    fixed: tuple[QuantizedLayer, ...]
    candidates: tuple[int, ...]

    @classmethod
    def of(cls, mod: IRModule, recipe: Recipe, options: SearchOptions) -> _Space:
        layers = quantized_layers(Annotate(recipe.scheme, recipe.row, recipe.options)(mod))
        if not any(layer.weights for layer in layers):
            raise TvmqError("there are no quantized weights to choose bits for")
        free = {
            layer.name: layer.weights
            for layer in layers
            if layer.weights and not any(matches(pattern, layer.name) for pattern in recipe.options.bits)
        }
        hardware = recipe.options.hardware
        candidates = tuple(
            bits for bits in options.candidates if hardware is None or bits in hardware.weight_bits
        )
        if not candidates:
            raise TvmqError(
                f"the hardware {hardware.name!r} has none of the candidates' bits: {options.candidates}"
            )
        return cls(free, tuple(layer for layer in layers if layer.name not in free), candidates)

    @property
    def weights(self) -> int:
        return sum(self.free.values()) + sum(layer.weights for layer in self.fixed)

    @property
    def sizes(self) -> dict[str, dict[int, float]]:
        """Bytes of each free layer at each of its candidates, and in float."""
        return {
            layer: {bits: byte_count(weights, bits) for bits in (*self.candidates, FLOAT)}
            for layer, weights in self.free.items()
        }

    def bytes(self, assignment: Assignment) -> int:
        fixed = sum(byte_count(layer.weights, layer.bits) for layer in self.fixed)
        return fixed + sum(byte_count(self.free[layer], bits) for layer, bits in assignment.items())


class _Search:
    """The measurements of one search, and what is to be found with them."""

    def __init__(self, mod: IRModule, recipe: Recipe, options: SearchOptions, space: _Space) -> None:
        self._mod, self._recipe, self._options, self._space = mod, recipe, options, space
        self._samples = list(islice(recipe.data.samples, options.samples))
        if not self._samples:
            raise TvmqError("there are no calibration samples; at least one is needed")
        self._state = SearchState(options.state, search_key(mod, recipe, options.samples))
        self._mixtures = mixtures_of(
            mod, recipe, {bits: {"*": bits} for bits in space.candidates}, self._samples
        )

    @property
    def _progress(self) -> Progress | None:
        return self._recipe.data.progress

    def within_size(self, budget: BitBudget) -> Assignment:
        """Return the bits of smallest error within a size."""
        space = self._space
        errors = self._sensitivity(space.candidates, weights_only=True)
        left = budget.bytes(space.weights) - space.bytes({})
        best = least_error(errors, space.sizes, left, self.error, self._options.trials, self._progress)
        if best is not None:
            return best
        fewest = min(space.candidates)
        smallest = space.bytes(dict.fromkeys(space.free, fewest))
        raise TvmqError(
            f"the budget of {self._options.bit_budget} is too small: the smallest that can be kept is {smallest}B, or "
            f"{math.ceil(8000 * smallest / space.weights) / 1000:g}bits, with layers of {fewest} bits"
        )

    def within_time(self, budget: float, compile: Callable[[IRModule], Package]) -> Assignment:
        """Return the bits of smallest error within the time of a run."""
        candidates = (*self._space.candidates, FLOAT)
        stopwatch = Stopwatch(self._mod, self._recipe, self._mixtures.calibrated, compile, self._samples[0])
        latency = LatencyBudget(budget, dict.fromkeys(self._space.free, candidates), stopwatch, self._state)
        errors = self._sensitivity(candidates)
        return latency.best(
            lambda time: least_error(
                errors, latency.costs, time, self.error, self._options.trials, self._progress
            )
        )

    def keeping_cosine(self, bound: float) -> Assignment:
        """Return the smallest weights with which the outputs keep a cosine."""
        errors = self._sensitivity((*self._space.candidates, FLOAT))
        best = least_cost(
            errors,
            self._space.sizes,
            lambda assignment: 1.0 - self.error(assignment) >= bound,
            self._options.trials,
            self._progress,
        )
        if best is not None:
            return best
        largest = 1.0 - self.error(cheapest(errors))
        raise TvmqError(
            f"the outputs cannot keep a cosine of {bound:.9g}: {largest:.6f} is the most that was reached"
        )

    def keeping_metric(self, metric: Metric, max_drop: float) -> Assignment:
        """Return the smallest weights with which a metric keeps its value; a metric that fails ends the search."""
        reference = self._value(metric, None)  # first: labels that do not match are an error at once
        errors = self._sensitivity((*self._space.candidates, FLOAT))
        held: list[Assignment] = []

        def holds(assignment: Assignment) -> bool:
            kept = reference - self._value(metric, assignment) <= max_drop + SLACK
            if kept:
                held.append(assignment)
            return kept

        try:
            best = least_cost(errors, self._space.sizes, holds, self._options.trials, self._progress)
        except MetricError as error:
            if not held:
                raise
            best = min(held, key=lambda assignment: total(self._space.sizes, assignment))
            logger.warning("%s; the search stops, and keeps the best that it has", error)
        if best is not None:
            return best
        least = reference - self._value(metric, cheapest(errors))
        raise TvmqError(
            f"the metric cannot keep within {max_drop:g} of float: {least:g} below it is the least reached"
        )

    def error(self, assignment: Assignment) -> float:
        """Return the measured error of a mixture."""
        return self._state.measure(
            f"error {_named(assignment)}", lambda: self._mixtures.error(self._whole(assignment))
        )

    def _value(self, metric: Metric, assignment: Assignment | None) -> float:
        """Return the metric's value; None is the float model."""
        bits = {} if assignment is None else self._whole(assignment)
        names = output_names(self._mod)

        def run(inputs: Sample) -> dict[str, np.ndarray]:
            return dict(zip(names, self._mixtures.run(inputs, bits), strict=True))

        name = f"{name_of(metric)} {'float' if assignment is None else _named(assignment)}"
        return self._state.measure(name, lambda: value_of(metric, run))

    def _whole(self, assignment: Assignment) -> Assignment:
        """Return the bits of all layers: those that are fixed have theirs in every variant."""
        return {**{layer.name: max(self._space.candidates) for layer in self._space.fixed}, **assignment}

    def _sensitivity(
        self, candidates: Sequence[int], weights_only: bool = False
    ) -> dict[str, dict[int, float]]:
        tried = dict.fromkeys(self._space.free, candidates)
        return sensitivity(self._mixtures, tried, self._state, self._progress, weights_only)


def _named(assignment: Assignment) -> str:
    return ",".join(map(str, assignment.values()))


def search_key(mod: IRModule, recipe: Recipe, samples: int) -> str:
    """Return a hash of what the measurements depend on beside what their names say; ``samples`` are measured on."""
    digest = hashlib.sha256(fingerprint(mod).encode())
    for part in (recipe.scheme, recipe.row and recipe.row.name, recipe.options):
        digest.update(repr(part).encode())
    for sample in islice(recipe.data.samples, samples):
        for name, array in sample.items():
            digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()[:32]
