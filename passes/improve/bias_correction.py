"""The mean error that rounding the weights makes, taken off the biases.

    E[(w + e) x + b] = E[w x + b] + e E[x]        so  b' = b - e E[x]

``e`` is what rounding did to the weights; ``E[x]`` the mean of the operator's input over the calibration
samples, one a channel. Where the filters are small, as in a depthwise convolution, their few errors do not
average out, and this is much of what quantization loses (Nagel et al., 2019, section 4.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..calibrate.on_samples import ReadsSamples
from ..calibrate.sample_check import Sample
from ..calibrate.watch import Progress, Runner, Watcher, watch
from ..hub.conditions import CALIBRATED, FLOAT_WEIGHTS_OF_KNOWN_SCALES
from ..hub.contract import module_pass
from ..hub.graph import (
    bindings_of,
    consumers_of,
    extents_of,
    is_constant,
    layer_name,
    op_name,
    rebuild,
    with_layer_name,
)
from ..hub.pairs import weight_pairs
from ..prepare.affine import CHANNEL_AXIS, as_affine, bias_constant, per_channel, response_to_constant


@module_pass(requires=FLOAT_WEIGHTS_OF_KNOWN_SCALES, ensures=(CALIBRATED,), takes_open=True)
@dataclass(frozen=True)
class CorrectBias(ReadsSamples):
    """Take the mean error of rounded weights off the biases; requires weights with known scales, still float."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with corrected biases; a layer without a bias gets one.

        Raises
        ------
        TvmqError : as ``watch`` does.
        """
        values = {binding.var: binding.value for binding in bindings_of(mod)}
        pairs = {reader: pair for pair in weight_pairs(mod) for reader in pair.readers if not pair.is_unknown}
        if not pairs:
            return mod
        means = input_means(mod, pairs, self.samples, self.runner, self.progress)
        errors = {
            reader: mean_error(values[reader], pair.error, means[reader]) for reader, pair in pairs.items()
        }
        return shift_results(mod, {reader: -error for reader, error in errors.items()})


def input_means(
    mod: IRModule,
    weighted: Iterable[relax.Var],
    samples: Iterable[Sample],
    runner: Runner,
    progress: Progress | None,
    description: str = "correct biases",
) -> dict[relax.Var, np.ndarray]:
    """Return the mean of each channel of what weighted operators read, float64 ``[C]``, by their results.

    Raises
    ------
    TvmqError : as ``watch`` does.
    """
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    means = {result: ChannelMean(CHANNEL_AXIS[op_name(values[result])]) for result in weighted}
    watchers: dict[relax.Var, list[Watcher]] = {}
    for result, mean in means.items():
        watchers.setdefault(values[result].args[0], []).append(mean)
    watch(mod, watchers, samples, runner, progress, description)
    return {result: mean.mean for result, mean in means.items()}


def shift_results(mod: IRModule, shifts: Mapping[relax.Var, np.ndarray]) -> IRModule:
    """Return the module with ``shifts`` ``[O]`` added to weighted results by way of their biases."""
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    biases = {var: bias for var, bias in biases_of(mod).items() if bias.weighted in shifts}
    biased = {bias.weighted for bias in biases.values()}

    def add(result: relax.Expr, bias: np.ndarray, weighted: relax.Var) -> relax.Call:
        axis = CHANNEL_AXIS[op_name(values[weighted])]
        total = relax.op.add(result, bias_constant(bias, len(extents_of(weighted)), axis))
        return with_layer_name(total, layer_name(values[weighted]))

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if var in biases:
            bias = biases[var]
            result = value.args[1] if is_constant(value.args[0]) else value.args[0]
            return add(result, bias.values + shifts[bias.weighted], bias.weighted)
        if var in shifts and var not in biased:
            return add(builder.emit(value), shifts[var], var)
        return value

    return rebuild(mod, rewrite)


class ChannelMean:
    """Watches a tensor; its mean along every axis but ``axis``."""

    def __init__(self, axis: int):
        self._axis = axis
        self._sum: np.ndarray | float = 0.0
        self._count = 0

    def update(self, array: np.ndarray) -> None:
        others = tuple(place for place in range(array.ndim) if place != self._axis % array.ndim)
        self._sum = self._sum + array.mean(axis=others, dtype=np.float64)
        self._count += 1

    @property
    def mean(self) -> np.ndarray:
        """float64 ``[C]``; zero before the first sample."""
        return np.asarray(self._sum / max(self._count, 1))


def mean_error(call: relax.Call, weight_error: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return what the errors of its weights add to a weighted operator's result on average, float64 ``[O]``."""
    return response_to_constant(call, weight_error.astype(np.float64), mean)


@dataclass(frozen=True)
class Bias:
    """A constant added to what a weighted operator alone gives.

    ``weighted`` is the variable of that operator's result, ``values`` the bias, float64 ``[O]``.
    """

    weighted: relax.Var
    values: np.ndarray


def biases_of(mod: IRModule) -> dict[relax.Var, Bias]:
    """Return the additions of a constant bias to a weighted operator's result that nothing else reads."""
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    readers = consumers_of(mod)
    found = {}
    for var, value in values.items():
        affine = as_affine(value) if op_name(value) == "relax.add" else None
        if affine is None or len(readers.get(affine.data, ())) != 1:
            continue
        axis = CHANNEL_AXIS.get(op_name(values.get(affine.data)))
        bias = None if axis is None else per_channel(affine.shift, extents_of(value), axis)
        if bias is not None:
            found[var] = Bias(affine.data, bias)
    return found
