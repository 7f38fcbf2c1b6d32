"""Weights, steps and biases that make each block of the quantized network give what it gives in the float model.

    minimize E |block'(x') - block(x)|^2        x: the block's input in the float model, x' in the quantized one
    over     the integers and scales of the block's weights, its biases, and the steps of its activations

``RoundWeights`` treats one layer after the other, each as if its result were wanted as it is. Here what one layer of a
block does wrong another may put right, and nonlinear operators are seen as what they are (Li et al., "BRECQ", 2021).
Gradients go through the block as ``passes.improve.backward`` has them, to the quantizers of ``passes.improve.learned``;
a random share of the activations stays float in each step, of the block's input too (Wei et al., "QDrop", 2022).

Each block is first rounded as ``RoundWeights`` does it. It keeps that where an operator has no gradient, or where
learning has not made the error smaller.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tvm
from tvm import IRModule, relax

from ..annotate import scheme_of
from ..graph import bindings_of, op_name
from ..lane_sums import is_merged, limit_sums
from ..pairs import (
    ActivationParameters,
    WeightPair,
    WeightParameters,
    activation_pairs,
    float_form,
    weight_pairs,
)
from ..parameters import MAX_BITS
from ..sample_check import Sample
from ..schemes import Scheme
from ..spool import Spool
from ..watch import Progress, Runner, compile_for_host
from .backward import channels_last
from .learned import LearnedWeights
from .rounding import DAMPING, Changes, RoundWeights, round_blocks
from .trainable import NoRule, Trainable
from .training import Learning, Record, error_of, learn
from .walk import State

logger = logging.getLogger(__name__)

CROP = 28
"""Height and width of what is seen of larger images, so that the first blocks cost no more than later ones."""
CROPS = 4
"""Of a sample, at most."""
GRID = 4
"""Crops begin at multiples of this: whatever strides a block has, up to it, they meet the same values."""

_GLOBAL = {"relax.matmul", "relax.mean", "relax.nn.adaptive_avg_pool2d"}
"""Operators for which a part of an image is not enough."""


@tvm.transform.module_pass(opt_level=0, name="tvmq.Reconstruct")
@dataclass(frozen=True)
class Reconstruct:
    """Round the weights and then learn, block by block; requires calibrated activations.

    Attributes
    ----------
    samples, runner, progress : as for ``Calibrate``. What goes on from block to block is kept in temporary files.
    learning : how.
    damping, fit_scales : as for ``RoundWeights``.
    """

    samples: Iterable[Sample]
    learning: Learning = field(default_factory=Learning)
    damping: float = DAMPING
    fit_scales: bool = True
    runner: Runner = compile_for_host
    progress: Progress | None = None

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with new weights, biases, and steps of activations of fewer than 8 bits.

        Raises
        ------
        TvmqError : as ``RoundWeights`` does.
        """
        rounding = RoundWeights(self.samples, self.damping, self.fit_scales, self.runner, self.progress)
        scheme = scheme_of(mod)
        rates = self.learning.rates
        if scheme is not None and scheme.power_of_two:
            rates = replace(rates, weight_scales=0.0, steps=0.0)
        elif not self.fit_scales:
            rates = replace(rates, weight_scales=0.0)
        return round_blocks(mod, rounding, _Refiner(replace(self.learning, rates=rates), scheme))


@dataclass(frozen=True)
class _Refiner:
    learning: Learning
    scheme: Scheme | None

    @property
    def units(self) -> int:
        return self.learning.steps

    def refine(
        self, given: IRModule, part: IRModule, whole: Container[str], states: Iterable[State], bar: Any
    ) -> Changes:
        """Return what a block has learned; see ``rounding.Refine``."""
        weights = [pair for pair in weight_pairs(part) if pair.name in whole and pair.bits < MAX_BITS]
        steps = [pair for pair in activation_pairs(part) if pair.bits < MAX_BITS]
        changes = Changes()
        if weights:
            learns = {pair.dequantize for pair in weights} | {pair.dequantize for pair in steps}
            rng = np.random.default_rng(self.learning.seed)
            try:
                exact, block = Trainable(float_form(given)), Trainable(part, learns, self.learning.rates, rng)
            except NoRule as refusal:
                logger.info(
                    "the block of layer %r is only rounded: no gradient of %s", weights[0].name, refusal
                )
            else:
                records = Spool(_records(part, exact, states, rng))
                before = error_of(block, records)
                learn(block, records, self.learning, bar)
                changes = self._changes(part, block)
                after = error_of(Trainable(changes.put_into(part)), records)
                logger.info("the block of layer %r: error %.5f -> %.5f", weights[0].name, before, after)
                return changes if after < before else Changes()
        if bar is not None:
            bar.update(self.units)
        return changes

    def _changes(self, part: IRModule, block: Trainable) -> Changes:
        values = {binding.var: binding.value for binding in bindings_of(part)}
        pairs = {pair.name: pair for pair in weight_pairs(part)}
        return Changes(
            {
                name: self._weights(pairs[name], learned, values[pairs[name].readers[0]])
                for name, learned in block.weights.items()
            },
            {
                pair.name: ActivationParameters(float(block.steps[pair.name].scale), pair.zero_point)
                for pair in activation_pairs(part)
                if pair.name in block.steps
            },
            {name: [shift.shift for shift in shifts] for name, shifts in block.shifts.items()},
        )

    def _weights(self, pair: WeightPair, learned: LearnedWeights, call: relax.Call) -> WeightParameters:
        """Return what has been learned; scales grow until what meets in a lane keeps the scheme's limit."""
        integers, scales, scheme = learned.integers.astype(np.int8), learned.scales, self.scheme
        if scheme is None or scheme.lane_limit is None:
            return WeightParameters(scales, integers)
        integers, scales = limit_sums(
            replace(pair, scales=scales, integers=integers).restored,
            scales,
            pair.axis,
            scheme.lane_limit,
            scheme.lane_steps,
            is_merged(call, pair.values),
            pair.bits,
            scheme.power_of_two,
        )
        return WeightParameters(scales, integers)


def _records(
    part: IRModule, exact: Trainable, states: Iterable[State], rng: np.random.Generator
) -> Iterator[Record]:
    """Give each sample's record; of large images several, of parts at random, where a block allows that."""
    (*names,) = (param.name for param in part["main"].params)
    whole = any(op_name(binding.value) in _GLOBAL for binding in bindings_of(part))
    for reference, quantized in states:
        first, second = ([channels_last(state[name]) for name in names] for state in (reference, quantized))
        windows = [...] if whole or len(names) > 1 else _windows(first[0].shape, rng)
        for window in windows:
            inputs = [array[window] for array in first]
            yield inputs, [array[window] for array in second], exact.forward(inputs)


def _windows(shape: tuple[int, ...], rng: np.random.Generator) -> list[Any]:
    """Return what to see of an array: all, or parts of an image that is large."""
    if len(shape) != 4 or max(shape[1:3]) <= CROP:
        return [...]
    extents = [min(CROP, extent) for extent in shape[1:3]]
    count = min(CROPS, -(-shape[1] * shape[2] // (extents[0] * extents[1])))
    windows = []
    for _ in range(count):
        top, left = (
            GRID * int(rng.integers((size - extent) // GRID + 1))
            for size, extent in zip(shape[1:3], extents, strict=True)
        )
        windows.append(np.s_[:, top : top + extents[0], left : left + extents[1]])
    return windows
