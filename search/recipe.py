"""How a model is quantized but for what a search chooses: the bits of each layer, and which ones stay in float."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import IRModule
from tvm.ir.transform import Pass

from ..passes.annotate.annotate import Annotate
from ..passes.annotate.options import QuantizeOptions
from ..passes.annotate.selection import matches
from ..passes.calibrate.set_parameters import parameters_of
from ..passes.hub.calibration_cache import CalibrationCache, read_cache
from ..passes.hub.graph import bindings_of, layer_name
from ..passes.hub.pairs import activation_pairs, weight_pairs
from ..passes.hub.schemes import Scheme
from ..passes.pipeline import CalibrationData, calibration_passes, quantization_passes
from ..targets.row import TargetRow

FLOAT = 32
"""The bits of a layer that stays in float."""


def options_with(options: QuantizeOptions, bits: Mapping[str, int]) -> QuantizeOptions:
    """Return the options with the bits of layers by name; ``FLOAT`` leaves one in float."""
    quantized = {layer: count for layer, count in bits.items() if count != FLOAT}
    skipped = [layer for layer, count in bits.items() if count == FLOAT]
    return dataclasses.replace(
        options, bits={**options.bits, **quantized}, skip_layers=(*options.skip_layers, *skipped)
    )


@dataclass(frozen=True)
class Recipe:
    """What ``passes.pipeline`` takes."""

    scheme: Scheme
    row: TargetRow | None
    options: QuantizeOptions
    data: CalibrationData

    @property
    def rounding(self) -> str:
        return self.options.rounding or self.scheme.rounding

    def calibrated(self, mod: IRModule) -> IRModule:
        """Return a prepared module with pairs that have parameters; their weights are still float."""
        return _run(calibration_passes(self.scheme, self.row, self.options, self.data), mod)

    def quantized(self, mod: IRModule) -> IRModule:
        """Return a prepared module as a Q/DQ module."""
        return _run(quantization_passes(self.scheme, self.row, self.options, self.data), mod)

    def first(self, bits: Mapping[str, int]) -> Recipe:
        """Return the recipe with these bits where the user says nothing, and without parameters of weights.

        Those are for one number of bits; what the user says of activations stays.
        """
        cache = self.options.calibration_cache
        said = read_cache(cache) if cache is not None and os.path.exists(cache) else CalibrationCache()
        activations = {**said.activations, **self.options.parameters.activations}
        return self._with(
            bits={**bits, **self.options.bits},
            calibration_cache=None,
            parameters=CalibrationCache(activations),
        )

    def again(self, bits: Mapping[str, int], calibrated: IRModule) -> Recipe:
        """Return the same for a model that ``first`` has calibrated: its activations keep their parameters."""
        return self.first(bits)._with(parameters=CalibrationCache(parameters_of(calibrated).activations))

    def without(self, layers: Sequence[str], mod: IRModule, calibrated: IRModule) -> Recipe:
        """Return the recipe with layers in float; what else is quantized keeps the parameters of ``calibrated``.

        Parameters
        ----------
        mod : the prepared module.
        """
        skipped = {*layers}
        values = {binding.var: binding.value for binding in bindings_of(calibrated)}
        names = {
            layer_name(values[reader]) for pair in weight_pairs(calibrated) for reader in pair.readers
        } - skipped
        # What is said of the bits of these layers alone would match none.
        wanted = {
            pattern: bits
            for pattern, bits in self.options.bits.items()
            if any(matches(pattern, name) for name in names)
        }
        recipe = self._with(skip_layers=(*self.options.skip_layers, *layers), bits=wanted)
        left = Annotate(self.scheme, self.row, recipe.options)(mod)
        bits = {pair.name: pair.bits for pair in activation_pairs(left)}
        found = parameters_of(calibrated).activations
        known = {
            pair.name: found[pair.name]
            for pair in activation_pairs(calibrated)
            if bits.get(pair.name) == pair.bits
        }
        return recipe._with(
            calibration_cache=None,
            parameters=CalibrationCache(known, self.options.parameters.weights),
        )

    def _with(self, **changes: Any) -> Recipe:
        return dataclasses.replace(self, options=dataclasses.replace(self.options, **changes))


def _run(passes: Iterable[Pass], mod: IRModule) -> IRModule:
    for step in passes:
        mod = step(mod)
    return mod
