"""The Q/DQ hub with unknown parameters --> the hub with parameters, from samples.

    dequantize(quantize(x, NaN, 0), NaN, 0)        --> dequantize(quantize(x, scale, zero), scale, zero)
    dequantize(quantize(weights, NaN, 0), NaN, 0)  --> dequantize(quantize(weights, scale, 0), scale, 0)

The float model runs once for each sample (``passes.calibrate.watch``), and an observer for each pair takes in the
values that the pair stands behind. The weights stay float, so that what follows may round them as it likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ...errors import TvmqError
from ..hub.annotation import scheme_of
from ..hub.conditions import CALIBRATED, NOT_REALIZED, PAIRS
from ..hub.contract import module_pass
from ..hub.graph import bindings_of, op_name
from ..hub.lane_sums import is_merged, limit_sums
from ..hub.pairs import (
    ActivationPair,
    ActivationParameters,
    WeightPair,
    WeightParameters,
    activation_pairs,
    edit,
    weight_pairs,
)
from ..hub.parameters import activation_parameters, quantize_weight, weight_limit, weight_parameters
from ..hub.product_choices import product_choices
from ..hub.schemes import Scheme
from .kept_outputs import KeptOutputs
from .observers import DEFAULT_OBSERVER, DEFAULT_WEIGHT_OBSERVER, get_observer, get_weight_observer
from .observers.observer import Observer
from .on_samples import ReadsSamples
from .shared_ranges import shared_groups
from .watch import watch

PRODUCT_OBSERVER = "minmax"
"""Of what matrix products read in networks with layer norms: their few large values are what the network works by."""


@module_pass(requires=(NOT_REALIZED, PAIRS), ensures=(CALIBRATED,), takes_open=True)
@dataclass(frozen=True)
class Calibrate(ReadsSamples):
    """Choose every unknown scale and zero point.

    Attributes
    ----------
    observer, weight_observer : keys of ``OBSERVERS`` and ``WEIGHT_OBSERVERS``; None takes the default.
    outputs : takes in what the float model gives for the first samples, where it runs; None keeps nothing.
    """

    observer: str | None = None
    weight_observer: str | None = None
    outputs: KeptOutputs | None = None

    def __post_init__(self) -> None:
        get_observer(self.observer or DEFAULT_OBSERVER)
        get_weight_observer(self.weight_observer or DEFAULT_WEIGHT_OBSERVER)

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the calibrated module; one without unknown parameters as it is.

        Raises
        ------
        TvmqError : no samples, or one that does not fit the model's inputs or is not finite; a layer whose
            weights or values are not finite.
        """
        scheme = scheme_of(mod)
        symmetric = scheme is not None and scheme.symmetric_activations
        power_of_two = scheme is not None and scheme.power_of_two
        values = {binding.var: binding.value for binding in bindings_of(mod)}
        weights = {
            pair.name: self._weights(pair, scheme, _is_merged(pair, values))
            for pair in weight_pairs(mod)
            if pair.is_unknown
        }
        unknown = [pair for pair in activation_pairs(mod) if pair.is_unknown]
        if not weights and not unknown:
            return mod
        ranges = self._ranges(mod, unknown) if unknown else {}
        activations = {}
        for pair in unknown:
            low, high = ranges[pair.name]
            scale, zero_point = activation_parameters(
                low, high, pair.dtype, symmetric, pair.bits, power_of_two
            )
            activations[pair.name] = ActivationParameters(float(scale), zero_point)
        return edit(mod, activations, weights)

    def _ranges(self, mod: IRModule, pairs: list[ActivationPair]) -> dict[str, tuple[float, float]]:
        """Return what each pair is to represent, by its name."""
        of_products = _read_by_products(mod) if self.observer is None and product_choices(mod) else set()

        def observer_of(pair: ActivationPair) -> Observer:
            name = PRODUCT_OBSERVER if pair.dequantize in of_products else DEFAULT_OBSERVER
            return get_observer(self.observer or name)(2**pair.bits - 1)

        observers = {pair.name: observer_of(pair) for pair in pairs}
        watchers: dict = {}
        for pair in pairs:
            watchers.setdefault(pair.source, []).append(observers[pair.name])
        watch(mod, watchers, self.samples, self.runner, self.progress, outputs=self.outputs)
        ranges = {name: observer.range() for name, observer in observers.items()}
        for group in shared_groups(mod, pairs):
            low = min(ranges[name][0] for name in group)
            high = max(ranges[name][1] for name in group)
            ranges.update(dict.fromkeys(group, (low, high)))
        return ranges

    def _weights(self, pair: WeightPair, scheme: Scheme | None, merged: bool) -> WeightParameters:
        """Return scales for unknown weights, and the weights rounded to nearest; ``merged`` as for ``runs_of``."""
        weight, axis, bits = pair.values, pair.axis, pair.bits
        if not np.isfinite(weight).all():
            raise TvmqError(f"the weights of layer {pair.name!r} hold NaN or infinity")
        rows = np.moveaxis(weight, axis, 0).reshape(pair.scales.size, -1)
        largest = get_weight_observer(self.weight_observer or DEFAULT_WEIGHT_OBSERVER)(
            rows, weight_limit(bits)
        )
        power_of_two = scheme is not None and scheme.power_of_two
        scales = weight_parameters(largest, bits, power_of_two)
        if scheme is not None and scheme.lane_sums is not None:
            integers, scales = limit_sums(
                weight, scales, axis, scheme.lane_sums, merged, pair.limits, power_of_two
            )
        else:
            integers = quantize_weight(weight, scales, axis, pair.limits)
        return WeightParameters(scales, integers)


def _is_merged(pair: WeightPair, values: Mapping[relax.Var, relax.Expr]) -> bool:
    """Tell whether the kernel that reads the weights takes them as ``lane_sums.is_merged`` says; no recurrence does."""
    return bool(pair.readers) and is_merged(values[pair.readers[0]], pair.values)


def _read_by_products(mod: IRModule) -> set[relax.Expr]:
    """Return what matrix products read."""
    return {
        argument
        for binding in bindings_of(mod)
        if op_name(binding.value) == "relax.matmul"
        for argument in binding.value.args
    }
