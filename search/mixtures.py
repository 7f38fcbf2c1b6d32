"""A model whose layers have any number of bits each, run on some samples and compared with the float model.

    error = 1 - the mean over samples of the cosine to what the float model gives, of the output that is farthest

A layer in float has its weights as they were, and an activation is in float where every layer that reads it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import numpy as np
from tvm import IRModule

from ..passes.calibrate.nearness import nearness
from ..passes.calibrate.sample_check import Sample
from ..passes.hub.pairs import weight_pairs
from ..passes.hub.steps import steps_of
from .layers import quantized_layers
from .local_rounding import LocalRounding
from .recipe import FLOAT, Recipe
from .simulator import Constants, Simulator
from .trials import trial


class Mixtures:
    """The model with each layer in any of the candidate bits; made by ``mixtures_of``.

    Attributes
    ----------
    layers : those that are quantized, in graph order.
    calibrated : the module whose activations' parameters all mixtures have.
    """

    def __init__(
        self,
        calibrated: IRModule,
        simulator: Simulator,
        constants: Mapping[int, Mapping[str, Constants]],
        samples: Sequence[Sample],
    ) -> None:
        self.calibrated = calibrated
        self.layers = quantized_layers(calibrated)
        self._simulator = simulator
        self._constants = constants
        self._steps = steps_of(calibrated)
        self._samples = samples
        self._reference = [self.run(sample, {}) for sample in samples]

    def run(self, sample: Sample, bits: Mapping[str, int]) -> list[np.ndarray]:
        """Return the model's outputs.

        Parameters
        ----------
        bits : of the layers by name; those that are not named are in float, with their activations.
        """
        read = {
            name
            for layer in self.layers
            if bits.get(layer.name, FLOAT) != FLOAT
            for name in layer.activations
        }
        return self._run(sample, bits, read)

    def error(self, bits: Mapping[str, int]) -> float:
        """Return the error of a mixture; ``bits`` as for ``run``."""
        return self._error([self.run(sample, bits) for sample in self._samples])

    def weight_error(self, bits: Mapping[str, int]) -> float:
        """Return the error of a mixture's weights alone, all activations in float."""
        return self._error([self._run(sample, bits, frozenset()) for sample in self._samples])

    def _run(
        self, sample: Sample, bits: Mapping[str, int], read: frozenset[str] | set[str]
    ) -> list[np.ndarray]:
        constants = {unit: self._constants[bits.get(unit, FLOAT)][unit] for unit in self._constants[FLOAT]}
        steps = {name: step if name in read else step.fine for name, step in self._steps.items()}
        return self._simulator.run(sample, constants, steps)

    def _error(self, results: Sequence[Sequence[np.ndarray]]) -> float:
        return 1.0 - nearness(self._reference, results)


def mixtures_of(
    mod: IRModule, recipe: Recipe, variants: Mapping[int, Mapping[str, int]], samples: Sequence[Sample]
) -> Mixtures:
    """Return the mixtures of a prepared float module.

    Parameters
    ----------
    variants : what the bits that layers may have beside float mean: of each, ``QuantizeOptions.bits`` before those of
        the recipe.
    samples : what errors are measured on.

    Raises
    ------
    TvmqError : whatever calibration raises.
    """
    first = recipe.first(variants[max(variants)]).calibrated(mod)
    hessian = recipe.rounding != "nearest"
    rounding = (
        LocalRounding.gather(first, recipe.data, hessian)
        if hessian or recipe.options.bias_correction != "none"
        else LocalRounding({}, False)
    )
    exact = trial(first, quantized=False)
    simulator = Simulator(exact)
    constants = {FLOAT: simulator.constants(exact)}
    progress, total = recipe.data.progress, len(variants) * len(weight_pairs(first))
    with nullcontext() if progress is None else progress("layers at each of the bits", total) as bar:
        for bits, meaning in variants.items():
            quantized = rounding.apply(recipe.again(meaning, first).calibrated(mod), bar)
            constants[bits] = simulator.constants(trial(quantized, quantized=True))
    return Mixtures(first, simulator, constants, samples)
