"""Layers whose input's rounding alone drowns their result stay in float, where they cost little.

    noise   = step^2 / 12 * mean over filters of sum w^2         what rounding the input adds to the result
    spared  : 10 log10(variance of the result / noise) < below, and few multiplications

A filter that takes a difference of large numbers, such as an edge detector behind a wide activation, gives little of
what it reads, and all of its rounding; weights of more bits would not help. The noise of a sum of independent rounding
errors follows from the step and the weights (Widrow and Kollar, 2008, "Quantization Noise"); variances are measured.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import tvm
from tvm import IRModule, relax

from ..calibrate.on_samples import ReadsSamples
from ..calibrate.watch import watch
from ..hub.conditions import CALIBRATED, FLOAT_WEIGHTS_OF_KNOWN_SCALES
from ..hub.contract import module_pass
from ..hub.graph import activations, bindings_of, constant, rebuild
from ..hub.layers import get_layers, with_layers
from ..hub.open_dims import greatest_shape
from ..hub.operators import pointwise
from ..hub.pairs import ActivationPair, WeightPair, activation_pairs, weight_pairs
from ..hub.parameters import MAX_BITS

logger = logging.getLogger(__name__)

SAMPLES = 8
"""Samples that tell the variances well enough."""

SHARE, TOGETHER = 0.03, 0.05
"""Shares of the model's multiplications that one spared layer, and all of them, may have."""


@module_pass(requires=FLOAT_WEIGHTS_OF_KNOWN_SCALES, ensures=(CALIBRATED,), takes_open=True)
@dataclass(frozen=True)
class SpareLayers(ReadsSamples):
    """Leave in float weighted layers whose result keeps too little of what they read.

    Attributes
    ----------
    below : the least ratio of signal to noise, in decibels; a layer that falls below it is spared.
    """

    below: float = 20.0

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module without the pairs of what is spared; as it is where there are no samples.

        Raises
        ------
        TvmqError : as ``watch`` does.
        """
        samples = list(islice(self.samples, SAMPLES))
        candidates = _candidates(mod)
        if not samples or not candidates:
            return mod
        variances = {layer.result.source: _Variance() for layer in candidates}
        watchers = {var: [watcher] for var, watcher in variances.items()}
        watch(mod, watchers, samples, self.runner, self.progress, "look for layers to spare")
        ratios = {layer.var: layer.ratio(variances[layer.result.source].value) for layer in candidates}
        spared = _affordable([layer for layer in candidates if ratios[layer.var] < self.below], mod, ratios)
        if not spared:
            return mod
        reasons = {
            layer.weights.name: f"rounding its input leaves {max(ratios[layer.var], 0.0):.0f} dB of its result"
            for layer in spared
        }
        for name, reason in reasons.items():
            logger.info("layer %r stays in float: %s", name, reason)
        return _with_reasons(_without_pairs(mod, spared), reasons)


@dataclass(frozen=True)
class _Layer:
    """A weighted operator with one reader of its weights, which reads one pair and whose result goes to another."""

    var: relax.Var
    data: ActivationPair
    weights: WeightPair
    result: ActivationPair

    def ratio(self, variance: float) -> float:
        """Return signal to noise of the result, in decibels, for a variance of the result."""
        others = tuple(axis for axis in range(self.weights.values.ndim) if axis != self.weights.axis)
        energy = float(np.square(self.weights.values, dtype=np.float64).sum(axis=others).mean())
        noise = self.data.scale**2 / 12 * energy
        return math.inf if noise == 0.0 else 10 * math.log10(max(variance / noise, 1e-30))


def _candidates(mod: IRModule) -> list[_Layer]:
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    pairs = activation_pairs(mod)
    given = {pair.dequantize: pair for pair in pairs}
    taken = {pair.source: pair for pair in pairs}
    readers = _readers_of(mod)

    def behind(var: relax.Var) -> ActivationPair | None:
        """Return the pair of what becomes of a result: its bias and activation are no operators of their own."""
        while var not in taken:
            if len(readers.get(var, ())) != 1:
                return None
            (var,) = readers[var]
        return taken[var]

    found = []
    for weights in weight_pairs(mod):
        if len(weights.readers) != 1:
            continue
        (reader,) = weights.readers
        data, result = given.get(values[reader].args[0]), behind(reader)
        # Fewer bits are what the user wants, and are clipped before they are rounded.
        if data is not None and result is not None and data.bits == MAX_BITS:
            found.append(_Layer(reader, data, weights, result))
    return found


def _readers_of(mod: IRModule) -> dict[relax.Var, list[relax.Var]]:
    """Return the variables whose values read each variable."""
    readers: dict[relax.Var, list[relax.Var]] = {}
    for binding in bindings_of(mod):
        for read in activations(binding.value):
            readers.setdefault(read, []).append(binding.var)
    return readers


def _multiplications(mod: IRModule, result: relax.Var, weights: WeightPair) -> int:
    """Return how many there are; where dimensions are open, at most."""
    numbers = math.prod(greatest_shape(mod, result.ty))
    return numbers * (weights.values.size // weights.values.shape[weights.axis])


def _affordable(layers: list[_Layer], mod: IRModule, ratios: Mapping[relax.Var, float]) -> list[_Layer]:
    """Return those of the layers that may stay in float, the worst first."""
    whole = sum(_multiplications(mod, reader, pair) for pair in weight_pairs(mod) for reader in pair.readers)
    chosen, used = [], 0.0
    for layer in sorted(layers, key=lambda layer: ratios[layer.var]):
        share = _multiplications(mod, layer.var, layer.weights) / whole
        if share <= SHARE and used + share <= TOGETHER:
            chosen.append(layer)
            used += share
    return chosen


def _without_pairs(mod: IRModule, spared: list[_Layer]) -> IRModule:
    """Return the module in which these layers read floats, and functions of their results too."""
    layers = {layer.var: layer for layer in spared}
    readers = _readers_of(mod)
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    bare = {
        layer.result.dequantize
        for layer in spared
        if all(pointwise(values[reader]) for reader in readers.get(layer.result.dequantize, ()))
    }

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if var in bare:
            return builder.lookup_binding(value.args[0]).args[0]
        if var not in layers:
            return value
        dequantize = builder.lookup_binding(value.args[0])
        source = builder.lookup_binding(dequantize.args[0]).args[0]
        args = [source, constant(layers[var].weights.values)]
        return relax.Call(value.op, args, value.attrs, value.ty_args, span=value.span)

    return relax.transform.DeadCodeElimination()(rebuild(mod, rewrite))


def _with_reasons(mod: IRModule, reasons: Mapping[str, str]) -> IRModule:
    return with_layers(
        mod,
        [
            dataclasses.replace(layer, status="float", reason=reasons[layer.name])
            if layer.name in reasons
            else layer
            for layer in get_layers(mod)
        ],
    )


class _Variance:
    """Watches a tensor; its variance over all elements of all samples."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, 0.0, 0.0

    def update(self, array: np.ndarray) -> None:
        self._count += array.size
        self._sum += float(array.sum(dtype=np.float64))
        self._squares += float(np.square(array, dtype=np.float64).sum())

    @property
    def value(self) -> float:
        mean = self._sum / max(self._count, 1)
        return max(self._squares / max(self._count, 1) - mean * mean, 0.0)
