"""The Q/DQ hub with unknown parameters --> the hub with parameters, from samples.

    dequantize(quantize(x, NaN, 0), NaN, 0)        --> dequantize(quantize(x, scale, zero), scale, zero)
    dequantize(quantize(weights, NaN, 0), NaN, 0)  --> dequantize(integer weights, scale, zero)
    conv2d(x, w) + bias                            --> conv2d(x, w) + (bias - mean error of the rounded weights)

The float model runs once for each sample (``passes.watch``), and an observer for each pair takes in the values
that the pair stands behind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import IRModule, relax

from ..errors import TvmqError
from .affine import CHANNEL_AXIS, bias_constant
from .annotate import is_unknown, scheme_of
from .bias_correction import ChannelMean, biases_of, mean_error
from .graph import (
    bindings_of,
    constant,
    is_constant,
    layer_name,
    op_name,
    rebuild,
    shape_of,
    to_numpy,
    with_layer_name,
)
from .layers import get_layers, with_layers
from .observers import (
    DEFAULT_OBSERVER,
    DEFAULT_WEIGHT_OBSERVER,
    Observer,
    get_observer,
    get_weight_observer,
)
from .parameters import activation_parameters, limit_pairs, quantize_weight, weight_parameters
from .sample_check import Sample
from .shared_ranges import shared_groups
from .watch import Progress, Runner, Watcher, compile_for_host, float_value, watch


@tvm.transform.module_pass(opt_level=0, name="tvmq.Calibrate")
@dataclass(frozen=True)
class Calibrate:
    """Choose every unknown scale and zero point.

    Attributes
    ----------
    samples : of each, the arrays of the model's inputs by name, in their exact shapes and dtypes.
    observer, weight_observer : keys of ``OBSERVERS`` and ``WEIGHT_OBSERVERS``; None takes the default.
    correct_bias : take the mean error of the rounded weights off the biases.
    runner : compiles the float module that is watched.
    progress : shows how many samples have run; None shows nothing.
    """

    samples: Iterable[Sample]
    observer: str | None = None
    weight_observer: str | None = None
    correct_bias: bool = True
    runner: Runner = compile_for_host
    progress: Progress | None = None

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
        values = {binding.var: binding.value for binding in bindings_of(mod)}
        if not any(is_unknown(value) for value in values.values()):
            return mod
        scheme = scheme_of(mod)
        pair_limit = scheme.pair_limit if scheme is not None else None
        weights = {
            var: self._weights(value, pair_limit) for var, value in values.items() if _is_weight(value)
        }
        observers = self._observers(mod, values)
        means = _channel_means(values, weights) if self.correct_bias else {}
        watchers: dict[relax.Var, list[Watcher]] = {}
        for var, observer in observers.items():
            watchers.setdefault(values[var].args[0], []).append(observer)
        for var, mean in means.items():
            watchers.setdefault(float_value(values, values[var].args[0]), []).append(mean)
        if watchers:
            watch(mod, watchers, self.samples, self.runner, self.progress)
        ranges = {var: observer.range() for var, observer in observers.items()}
        for group in shared_groups(mod):
            low = min(ranges[var][0] for var in group)
            high = max(ranges[var][1] for var in group)
            ranges.update(dict.fromkeys(group, (low, high)))
        errors = {
            var: mean_error(values[var], weights[_quantize_of(values, var)].error, mean.mean)
            for var, mean in means.items()
        }
        return _Filler(mod, ranges, weights, errors).fill()

    def _observers(self, mod: IRModule, values: Mapping[relax.Var, relax.Expr]) -> dict[relax.Var, Observer]:
        """Return an observer for each unknown activation pair, by the variable of its ``quantize``."""
        scheme = scheme_of(mod)
        steps = 2 ** (scheme.activation_bits if scheme is not None else 8) - 1
        make = get_observer(self.observer or DEFAULT_OBSERVER)
        return {
            var: make(steps)
            for var, value in values.items()
            if op_name(value) == "relax.quantize" and is_unknown(value) and not is_constant(value.args[0])
        }

    def _weights(self, quantize: relax.Call, pair_limit: int | None) -> _Weights:
        """Return what becomes of the float weights in an unknown pair (of quantize and dequantize)."""
        weight = to_numpy(quantize.args[0])
        if not np.isfinite(weight).all():
            raise TvmqError(f"the weights of layer {layer_name(quantize)!r} hold NaN or infinity")
        axis = int(quantize.attrs.axis)
        per_channel = shape_of(quantize.args[1]) == (weight.shape[axis],)
        rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis] if per_channel else 1, -1)
        largest = get_weight_observer(self.weight_observer or DEFAULT_WEIGHT_OBSERVER)(rows)
        scales = weight_parameters(largest)
        integers = quantize_weight(weight, scales, axis)
        if pair_limit is not None:
            integers, scales = limit_pairs(weight, scales, axis, pair_limit)
        shape = [1] * weight.ndim
        shape[axis] = -1
        return _Weights(integers, scales, integers * scales.reshape(shape) - weight)


@dataclass(frozen=True)
class _Weights:
    """int8 weights, their float32 scales ``[O]`` or ``[1]``, and what rounding did to them."""

    integers: np.ndarray
    scales: np.ndarray
    error: np.ndarray


def _is_weight(value: relax.Expr) -> bool:
    return op_name(value) == "relax.quantize" and is_unknown(value) and is_constant(value.args[0])


def _quantize_of(values: Mapping[relax.Var, relax.Expr], weighted: relax.Var) -> relax.Var:
    """Return the ``quantize`` of a weighted operator's weights."""
    return values[values[weighted].args[1]].args[0]


def _channel_means(
    values: Mapping[relax.Var, relax.Expr], weights: Mapping[relax.Var, _Weights]
) -> dict[relax.Var, ChannelMean]:
    """Return a watcher for the input of each weighted operator whose weights are to be rounded."""
    found = {}
    for var, value in values.items():
        axis = CHANNEL_AXIS.get(op_name(value))
        pair = values.get(value.args[1]) if axis is not None else None
        if op_name(pair) == "relax.dequantize" and pair.args[0] in weights:
            found[var] = ChannelMean(axis)
    return found


class _Filler:
    """Puts parameters for NaN, integer constants for float weights, and corrected biases."""

    def __init__(
        self,
        mod: IRModule,
        ranges: Mapping[relax.Var, tuple[float, float]],
        weights: Mapping[relax.Var, _Weights],
        errors: Mapping[relax.Var, np.ndarray],
    ):
        self._mod = mod
        self._ranges, self._weights, self._errors = ranges, weights, errors
        self._values = {binding.var: binding.value for binding in bindings_of(mod)}
        self._biases = {var: bias for var, bias in biases_of(mod).items() if bias.weighted in errors}
        self._biased = {bias.weighted for bias in self._biases.values()}
        scheme = scheme_of(mod)
        self._symmetric = scheme is not None and scheme.symmetric_activations
        self._parameters: dict[relax.Var, tuple[relax.Expr, relax.Expr]] = {}
        self._details: dict[str, dict[str, Any]] = {}

    def fill(self) -> IRModule:
        filled = rebuild(self._mod, self._rewrite)
        layers = [
            dataclasses.replace(layer, details={**layer.details, **self._details.get(layer.name, {})})
            for layer in get_layers(filled)
        ]
        return with_layers(filled, layers)

    def _rewrite(self, builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if var in self._weights:
            return self._weight(var, value)
        if var in self._ranges:
            return self._activation(var, value)
        if op_name(value) == "relax.dequantize" and is_unknown(value):
            scale, zero = self._parameters[self._values[var].args[0]]
            new = relax.op.dequantize(value.args[0], scale, zero, value.attrs.axis, value.attrs.out_dtype)
            return with_layer_name(new, layer_name(value))
        if var in self._biases:
            bias = self._biases[var]
            result = value.args[1] if is_constant(value.args[0]) else value.args[0]
            return self._add_bias(result, bias.values - self._errors[bias.weighted], bias.weighted)
        if var in self._errors and var not in self._biased:
            return self._add_bias(builder.emit(value), -self._errors[var], var)
        return value

    def _weight(self, var: relax.Var, quantize: relax.Call) -> relax.Expr:
        weights = self._weights[var]
        zeros = np.zeros(weights.scales.shape, weights.integers.dtype)
        self._parameters[var] = constant(weights.scales), constant(zeros)
        self._details.setdefault(layer_name(quantize), {}).update(
            weight_shape=list(weights.integers.shape),
            weight_bytes=weights.integers.nbytes,
            weight_scale_min=float(weights.scales.min()),
            weight_scale_max=float(weights.scales.max()),
        )
        return constant(weights.integers)

    def _activation(self, var: relax.Var, quantize: relax.Call) -> relax.Expr:
        name, dtype = layer_name(quantize), str(quantize.attrs.out_dtype)
        scale, zero_point = activation_parameters(*self._ranges[var], dtype, self._symmetric)
        self._parameters[var] = constant(np.array(scale)), constant(np.array(zero_point, dtype))
        self._details.setdefault(name, {}).update(
            output_dtype=dtype, output_scale=float(scale), output_zero_point=zero_point
        )
        new = relax.op.quantize(quantize.args[0], *self._parameters[var], quantize.attrs.axis, dtype)
        return with_layer_name(new, name)

    def _add_bias(self, result: relax.Expr, bias: np.ndarray, weighted: relax.Var) -> relax.Call:
        """Return ``result + bias``, ``bias`` ``[O]`` along the channels of the operator behind ``weighted``."""
        axis = CHANNEL_AXIS[op_name(self._values[weighted])]
        total = relax.op.add(result, bias_constant(bias, len(shape_of(weighted)), axis))
        return with_layer_name(total, layer_name(self._values[weighted]))
