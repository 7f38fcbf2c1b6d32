"""Each layer's weights at any number of bits, rounded by itself: for the inputs that the float model gives it.

    nearest    Q nearest to W;                                   b' = b + (W - Q) E[x]
    hessian    Q nearest to W in the metric H = cov(x, x);       b' = b + (W - Q) E[x]

``passes.improve.rounding`` rounds a layer for what all layers before it leave it, so its weights are right for one
mixture of bits alone. A search wants to put layers together as it likes; rounded by itself, each is as good in any
mixture, and the moments of its input are taken once for all numbers of bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from tvm import IRModule, relax

from ..passes.calibrate.watch import watch
from ..passes.hub.annotation import scheme_of
from ..passes.hub.graph import bindings_of, op_name
from ..passes.hub.pairs import WeightPair, WeightParameters, edit, weight_pairs
from ..passes.improve.bias_correction import ChannelMean, mean_error, shift_results
from ..passes.improve.gram import Blocks, Moments, grouped_shape
from ..passes.improve.round_layer import LayerOptions, rounded, shift_of
from ..passes.pipeline import CalibrationData
from ..passes.prepare.affine import CHANNEL_AXIS

GROUP = 2**25
"""So many elements of covariances, of 16 bytes each, are gathered in one walk through the samples."""


class Operand(Protocol):
    """What is gathered of the input of one weighted operator."""

    def update(self, array: np.ndarray) -> None: ...

    def shift(self, pair: WeightPair) -> np.ndarray:
        """Return what the bias makes up for, float64 ``[O]``."""


class MeanOperand:
    """The mean by channel: enough to correct a bias."""

    def __init__(self, call: relax.Call):
        self._call = call
        self._mean = ChannelMean(CHANNEL_AXIS[op_name(call)])

    def update(self, array: np.ndarray) -> None:
        self._mean.update(array)

    def shift(self, pair: WeightPair) -> np.ndarray:
        return -mean_error(self._call, pair.error, self._mean.mean)


class MomentsOperand:
    """Mean and covariance of what the weights are multiplied with."""

    def __init__(self, call: relax.Call):
        self.call = call
        self.moments = Moments(call)

    def update(self, array: np.ndarray) -> None:
        self.moments.update(array, array)

    def shift(self, pair: WeightPair) -> np.ndarray:
        return shift_of(pair, self.call, self.moments)


@dataclass(frozen=True)
class LocalRounding:
    """Rounds a model's layers; made by ``gather``.

    Attributes
    ----------
    operands : of each pair of weights, those of its readers; none where biases are not corrected either.
    hessian : round for the layer's result; else to nearest.
    """

    operands: Mapping[str, Sequence[Operand]]
    hessian: bool

    @classmethod
    def gather(cls, mod: IRModule, data: CalibrationData, hessian: bool) -> LocalRounding:
        """Return what rounding needs of a module with pairs; raises ``TvmqError`` as ``watch`` does."""
        values = {binding.var: binding.value for binding in bindings_of(mod)}
        make = MomentsOperand if hessian else MeanOperand
        operands: dict[str, list[Operand]] = {}
        for group in _groups(weight_pairs(mod), values):
            watchers: dict[relax.Var, list[Operand]] = {}
            for pair in group:
                operands[pair.name] = [make(values[reader]) for reader in pair.readers]
                for reader, operand in zip(pair.readers, operands[pair.name], strict=True):
                    watchers.setdefault(values[reader].args[0], []).append(operand)
            watch(mod, watchers, **data.serial_arguments, description="inputs of layers")
        return cls(operands, hessian)

    def apply(self, mod: IRModule, bar: Any = None) -> IRModule:
        """Return the module, of the same model with weights of any bits, with rounded weights and corrected biases.

        ``bar`` is that of the progress, of which each layer is a step.
        """
        new = {}
        for pair in weight_pairs(mod):
            if self.hessian and pair.readers:  # nobody has seen what recurrent weights multiply
                new[pair.name] = self._rounded(pair, mod)
            if bar is not None:
                bar.update(1)
        mod = edit(mod, weights=new)
        return shift_results(
            mod,
            {
                reader: operand.shift(pair)
                for pair in weight_pairs(mod)
                for reader, operand in zip(pair.readers, self.operands.get(pair.name, ()), strict=False)
            },
        )

    def _rounded(self, pair: WeightPair, mod: IRModule) -> WeightParameters:
        seen = [
            (operand.call, operand.moments)
            for operand in self.operands[pair.name]
            if isinstance(operand, MomentsOperand)
        ]
        return rounded(pair, seen, LayerOptions(), scheme_of(mod))


def _groups(
    pairs: Sequence[WeightPair], values: Mapping[relax.Var, relax.Call]
) -> Iterator[list[WeightPair]]:
    """Yield the pairs that are read in groups whose covariances have about ``GROUP`` elements, or are one pair's."""
    group: list[WeightPair] = []
    size = 0
    for pair in pairs:
        if not pair.readers:
            continue
        count, _, length = grouped_shape(values[pair.readers[0]])
        elements = count * length * Blocks.of(count, length).size * len(pair.readers)
        if group and size + elements > GROUP:
            yield group
            group, size = [], 0
        group.append(pair)
        size += elements
    if group:
        yield group
