"""Parameters from outside --> the pairs that they name; and back, for the next time.

    dequantize(quantize(x, NaN, 0), NaN, 0)  -->  dequantize(quantize(x, scale, zero), scale, zero)

``Calibrate`` behind it leaves what is known, and where everything is, needs no samples.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule

from ...errors import TvmqError, unknown
from ..hub.annotation import scheme_of
from ..hub.calibration_cache import Activation, CalibrationCache, Range, Weights, write_cache
from ..hub.conditions import CALIBRATED, NOT_REALIZED, PAIRS
from ..hub.contract import module_pass
from ..hub.fingerprint import fingerprint
from ..hub.layers import get_layers
from ..hub.pairs import (
    ActivationPair,
    ActivationParameters,
    WeightPair,
    WeightParameters,
    activation_pairs,
    edit,
    weight_pairs,
)
from ..hub.parameters import activation_limits, activation_parameters, quantize_weight
from ..hub.schemes import Scheme

_logger = logging.getLogger(__name__)

NAMED = 4
"""Further tensors that the model does not have, at most, in a message about one."""


@module_pass(requires=(NOT_REALIZED, PAIRS))
@dataclass(frozen=True)
class SetParameters:
    """Give the named tensors the parameters that are said, whatever they had."""

    parameters: CalibrationCache

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with these parameters; the weights are rounded to nearest.

        A layer that has the name but no pair, because it stays in float now, is logged as a warning.

        Raises
        ------
        TvmqError : a name that the model does not have; parameters of another model, of other bits, or with
            another number of scales than the weights need.
        """
        cache, scheme = self.parameters, scheme_of(mod)
        activations = {pair.name: pair for pair in activation_pairs(mod)}
        weights = {pair.name: pair for pair in weight_pairs(mod)}
        known = {layer.name for layer in get_layers(mod)} | {param.name for param in mod["main"].params}
        try:
            for kind, said, pairs in (
                ("activation", cache.activations, activations),
                ("weights", cache.weights, weights),
            ):
                left_out = _left_out(kind, said, pairs, known)
                if left_out:
                    _logger.warning(
                        "%s: there is no quantized %s of %s in this model; left out",
                        cache.title,
                        kind,
                        ", ".join(left_out),
                    )
            if cache.model and cache.model != fingerprint(mod):
                raise TvmqError(
                    "it is of another model, with the same names but other weights; calibrate anew, or take its line "
                    "'model' out to use it nevertheless"
                )
            new_activations = {
                name: _activation(pair, cache.activations[name], scheme)
                for name, pair in activations.items()
                if name in cache.activations
            }
            new_weights = {
                name: _weights(pair, cache.weights[name])
                for name, pair in weights.items()
                if name in cache.weights
            }
        except TvmqError as error:
            raise TvmqError(f"{cache.title}: {error}") from error
        return edit(mod, new_activations, new_weights)


@module_pass(requires=(NOT_REALIZED, PAIRS, CALIBRATED))
@dataclass(frozen=True)
class WriteParameters:
    """Write the parameters of every pair to a calibration cache; the module stays as it is."""

    path: str | os.PathLike[str]

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Raises ``TvmqError`` where the file cannot be written."""
        write_cache(self.path, parameters_of(mod))
        return mod


def parameters_of(mod: IRModule) -> CalibrationCache:
    """Return the parameters of every pair that has some."""
    return CalibrationCache(
        {
            pair.name: Activation(_shortest(pair.scale), pair.zero_point, pair.dtype, pair.bits)
            for pair in activation_pairs(mod)
            if not pair.is_unknown
        },
        {
            pair.name: Weights(tuple(map(_shortest, pair.scales)), pair.bits)
            for pair in weight_pairs(mod)
            if not pair.is_unknown
        },
        fingerprint(mod),
    )


def _shortest(scale: float) -> float:
    """Return the number of fewest digits that is this float32."""
    return float(str(np.float32(scale)))


def _left_out(kind: str, said: Iterable[str], pairs: Iterable[str], known: set[str]) -> list[str]:
    """Return what is said of layers that stay in float now; raises ``TvmqError`` for names of nothing in the model."""
    missing = [name for name in said if name not in pairs]
    strangers = [name for name in missing if name not in known]
    if strangers:
        raise TvmqError(f"{unknown(f'quantized {kind}', strangers[0], pairs)}{_others(strangers[1:])}")
    return missing


def _others(names: Sequence[str]) -> str:
    """Return what follows a message about one name that others share; the first few of them."""
    shown = ", ".join(map(repr, names[:NAMED])) + (
        f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    )
    return f"; nor are there {shown}" if names else ""


def _check_bits(pair: ActivationPair | WeightPair, bits: int | None) -> None:
    if bits is not None and bits != pair.bits:
        raise TvmqError(f"{pair.name!r} is for {bits} bits, but has {pair.bits} here")


def _activation(
    pair: ActivationPair, said: Activation | Range, scheme: Scheme | None
) -> ActivationParameters:
    if isinstance(said, Range):
        symmetric = scheme is not None and scheme.symmetric_activations
        power_of_two = scheme is not None and scheme.power_of_two
        scale, zero_point = activation_parameters(
            said.low, said.high, pair.dtype, symmetric, pair.bits, power_of_two
        )
        return ActivationParameters(float(scale), zero_point)
    _check_bits(pair, said.bits)
    first, last = activation_limits(pair.dtype, pair.bits)
    zero_point = said.zero_point
    if said.dtype is not None:
        zero_point += first - activation_limits(said.dtype, pair.bits)[0]
    if not first <= zero_point <= last:
        raise TvmqError(f"the zero point of {pair.name!r} must be from {first} to {last}, got {zero_point}")
    return ActivationParameters(said.scale, zero_point)


def _weights(pair: WeightPair, said: Weights) -> WeightParameters:
    _check_bits(pair, said.bits)
    count = pair.scales.size
    if len(said.scales) not in (1, count):
        raise TvmqError(
            f"the weights of {pair.name!r} need {count} scales, or one for all, got {len(said.scales)}"
        )
    scales = np.broadcast_to(np.array(said.scales, np.float32), (count,)).copy()
    return WeightParameters(scales, quantize_weight(pair.values, scales, pair.axis, pair.limits))
