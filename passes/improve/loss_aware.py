"""Loss-aware clipping (LAPQ): the steps of the activations that least hurt the model's output.

    minimize over the steps   sum over outputs  E |f(steps) - f|^2 / E |f|^2        f: the float model

Three phases (Nahshan et al., "Loss aware post-training quantization", 2021):

1. Each activation's range by the least p-th power of its own rounding error, for several p: small p clip more.
2. The loss over p is close to a parabola; its minimum gives the p to start from.
3. One activation after the other, the step that is best while all others stay: the first round of Powell's method,
   since the best steps depend on each other. A step grows or shrinks with its range, and the zero point stays.

The weights stay float throughout: what rounding does to them is for the methods that follow. All of it runs on one
compiled module whose steps are its inputs (``passes.hub.steps``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import tvm
from tvm import IRModule, relax

from ...errors import TvmqError
from ..calibrate.histogram import Histogram
from ..calibrate.nearness import counted
from ..calibrate.observers.least_error import least_error_range
from ..calibrate.on_samples import ReadsSamples
from ..calibrate.sample_check import Sample
from ..calibrate.shared_ranges import shared_groups
from ..calibrate.watch import Runner, Watcher, watch
from ..hub.annotation import scheme_of
from ..hub.conditions import CALIBRATED, NOT_REALIZED, PAIRS
from ..hub.contract import module_pass
from ..hub.pairs import ActivationPair, ActivationParameters, activation_pairs, edit
from ..hub.parameters import activation_parameters
from ..hub.steps import Steps, arguments, stepped_form, steps_for, steps_of

POWERS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""The p of the first phase."""
SHRINK, GROW = -1.0, 0.5
"""How far a step may go from where it starts, as logarithms to the base 2."""
PRECISION = 0.1
"""Of the same logarithm: the loss hardly differs over less."""
CALLS = 8
"""Of the loss at most for each step."""

Parameters = dict[str, ActivationParameters]


@module_pass(requires=(NOT_REALIZED, PAIRS, CALIBRATED), ensures=(CALIBRATED,))
@dataclass(frozen=True)
class LossAwareClip(ReadsSamples):
    """Choose the activations' parameters anew by the error of the outputs; requires calibrated activations.

    Attributes
    ----------
    samples : all are read for the distributions.
    keep : names of activations whose parameters are to stay, because they were given.
    loss_samples : the first so many of the samples are what the loss is measured on.
    """

    keep: frozenset[str] = frozenset()
    loss_samples: int = 16

    def __post_init__(self) -> None:
        if self.loss_samples < 1:
            raise TvmqError(f"loss_samples must be at least 1, got {self.loss_samples}")

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with other parameters of its activations.

        Raises
        ------
        TvmqError : scales that must be powers of two; otherwise as ``watch`` does.
        """
        pairs = [pair for pair in activation_pairs(mod) if pair.name not in self.keep]
        if not pairs:
            return mod
        scheme = scheme_of(mod)
        if scheme is not None and scheme.power_of_two:
            raise TvmqError("loss-aware clipping (lapq) needs free scales, and these must be powers of two")
        symmetric = scheme is not None and scheme.symmetric_activations
        start = _Start(pairs, shared_groups(mod, pairs), self._histograms(mod, pairs), symmetric)
        total = len(POWERS) + 1 + CALLS * len(start.groups)
        with nullcontext() if self.progress is None else self.progress("clip by the loss", total) as bar:
            loss = _Loss(mod, list(islice(self.samples, self.loss_samples)), self.runner, bar)
            tried = [start.of(power) for power in POWERS]
            losses = [loss(parameters) for parameters in tried]
            tried.append(start.of(best_power(POWERS, losses)))
            losses.append(loss(tried[-1]))
            best = int(np.argmin(losses))
            return edit(mod, _search(loss, tried[best], losses[best], start.groups, bar))

    def _histograms(self, mod: IRModule, pairs: Sequence[ActivationPair]) -> dict[str, Histogram]:
        """Return the distribution of each activation."""
        found = {pair.name: Histogram() for pair in pairs}
        watchers: dict[relax.Var, list[Watcher]] = {}
        for pair in pairs:
            watchers.setdefault(pair.source, []).append(found[pair.name])
        watch(mod, watchers, self.samples, self.runner, self.progress, "see distributions")
        return found


def best_power(powers: Sequence[float], losses: Sequence[float]) -> float:
    """Return where a parabola through the losses is lowest, within the powers; the best of them where it has no low."""
    curvature, slope, _ = np.polyfit(powers, losses, 2)
    if curvature <= 0.0:
        return powers[int(np.argmin(losses))]
    return float(np.clip(-slope / (2.0 * curvature), min(powers), max(powers)))


class _Start:
    """Parameters by each activation's own error.

    Attributes
    ----------
    groups : names of activations that have the same parameters; most are alone.
    """

    def __init__(
        self,
        pairs: Sequence[ActivationPair],
        shared: Sequence[set[str]],
        histograms: Mapping[str, Histogram],
        symmetric: bool,
    ):
        self._pairs = {pair.name: pair for pair in pairs}
        self._histograms, self._symmetric = histograms, symmetric
        together = set().union(*shared)
        self.groups = [sorted(group) for group in shared] + [
            [pair.name] for pair in pairs if pair.name not in together
        ]

    def of(self, power: float) -> Parameters:
        """Return the parameters of the least mean ``power``-th power of the error."""
        found = {}
        for group in self.groups:
            pairs = [self._pairs[name] for name in group]
            ranges = [
                least_error_range(self._histograms[pair.name], 2**pair.bits - 1, power) for pair in pairs
            ]
            low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
            for pair in pairs:
                scale, zero_point = activation_parameters(low, high, pair.dtype, self._symmetric, pair.bits)
                found[pair.name] = ActivationParameters(float(scale), zero_point)
        return found


class _Loss:
    """The error of the outputs, relative to their size, where activations have the parameters that are said."""

    def __init__(self, mod: IRModule, samples: Sequence[Sample], runner: Runner, bar: Any):
        self._pairs = {pair.name: pair for pair in activation_pairs(mod)}
        self._steps, self._samples, self._bar = steps_of(mod), samples, bar
        self._run = runner(stepped_form(mod))
        exact = {name: steps.fine for name, steps in self._steps.items()}
        self._exact = [self._outputs(sample, exact) for sample in samples]
        # No error is relative to an output that is zero throughout.
        self._sizes = [
            sum(float(np.square(output).sum()) for output in outputs) or np.inf
            for outputs in zip(*self._exact, strict=True)
        ]

    def __call__(self, parameters: Parameters) -> float:
        steps = self._steps | {
            name: steps_for(self._pairs[name], new.scale, new.zero_point) for name, new in parameters.items()
        }
        total = 0.0
        for sample, exact in zip(self._samples, self._exact, strict=True):
            found = zip(self._outputs(sample, steps), exact, self._sizes, strict=True)
            total += sum(float(np.square(given - wanted).sum()) / size for given, wanted, size in found)
        if self._bar is not None:
            self._bar.update(1)
        return total

    def _outputs(self, sample: Sample, steps: Mapping[str, Steps]) -> list[np.ndarray]:
        outputs = self._run({**sample, **arguments(steps)})
        return [outputs[place].astype(np.float64) for place in counted(outputs)]


def _search(
    loss: Callable[[Parameters], float],
    start: Parameters,
    least: float,
    groups: Sequence[Sequence[str]],
    bar: Any,
) -> Parameters:
    """Return parameters whose loss is no more than ``least``, which is that of the start."""
    from scipy.optimize import minimize_scalar  # takes long to import

    best = start
    for group in groups:
        found = minimize_scalar(
            lambda exponent, best=best, group=group: loss(_scaled(best, group, exponent)),
            bounds=(SHRINK, GROW),
            method="bounded",
            options={"xatol": PRECISION, "maxiter": CALLS},
        )
        if bar is not None:
            bar.update(CALLS - found.nfev)  # what it could have taken
        if found.fun < least:
            best, least = _scaled(best, group, found.x), found.fun
    return best


def _scaled(parameters: Parameters, group: Sequence[str], exponent: float) -> Parameters:
    """Return the parameters with the steps of a group times a power of two."""
    factor = 2.0**exponent
    return parameters | {
        name: ActivationParameters(
            float(np.float32(parameters[name].scale * factor)), parameters[name].zero_point
        )
        for name in group
    }
