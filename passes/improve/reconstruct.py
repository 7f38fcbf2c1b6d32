"""Weights, steps and biases that make each section of the quantized network give what it gives in the float model.

    minimize E |section'(x') - section(x)|^2  and then  E |section'(x') - section(x)|^2 + sum over k of E |y_k' - y_k|^2
    over     the integers and scales of the section's weights, its biases, and the steps of its activations

    x    the section's input in the float model, x' in the quantized one
    y_k  what the k-th section behind gives, in the float model, from section(x); y_k' from section'(x')

``RoundWeights`` treats one layer after the other, each as if its result were wanted as it is. Here what one layer of a
section does wrong another may put right, and nonlinear operators are seen as what they are (Li et al., "BRECQ", 2021,
block by block). Sections of several blocks learn more for the same work: all layers in all steps either way.
Gradients go through the block as ``passes.improve.backward`` has them, to the quantizers of ``passes.improve.learned``;
a random share of the activations stays float in each step, of the block's input too (Wei et al., "QDrop", 2022).

Errors of one size may do more harm or less further on. So a section first learns from parts of images by its own error,
which is cheap and has many values, and then from whole images with all sections behind it. Its own error counts on, and
each section's alike: by the last result alone, few images are learned by heart, and what is right for float sections
is not for the quantized ones.

Each section is first rounded as ``RoundWeights`` does it. It keeps that where an operator has no gradient, or where
learning has not made the error smaller.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tvm
from tvm import IRModule, relax

from ..calibrate.on_samples import ReadsSamples
from ..calibrate.spool import Spool
from ..hub.annotation import scheme_of
from ..hub.conditions import CALIBRATED, FLOAT_WEIGHTS_OF_KNOWN_SCALES
from ..hub.contract import module_pass
from ..hub.graph import bindings_of, op_name, results_of, shape_of
from ..hub.pairs import (
    ActivationParameters,
    WeightPair,
    WeightParameters,
    activation_pairs,
    float_form,
    weight_pairs,
)
from ..hub.parameters import MAX_BITS
from ..hub.schemes import Scheme
from .backward import channels_last
from .blocks import blocks_of, cut_out
from .lanes import within_lanes
from .learned import LearnedWeights
from .outlook import Ahead
from .round_layer import DAMPING
from .rounding import Changes, Rounded, RoundWeights, round_blocks
from .trainable import NoRule, Through, Trainable
from .training import Learning, Record, error_of, learn
from .walk import State

logger = logging.getLogger(__name__)

LAYERS = 6
"""Of a section, at least."""
CROP, RESULT = 28, 14
"""Height and width of what is seen of larger images, and of what comes of it, at least: the first sections should cost
no more than later ones."""
CROPS = 4
"""Of a sample, at most."""

AHEAD_BATCH = 4
"""Samples a step where what follows is seen too: whole ones, of which each says as much as many parts."""
CHECKED = 40
"""Records by which it is told whether a section has become better, at most."""

CORRELATED = 300
"""Samples by whose correlations weights are rounded, at most, which bounds the time. A third of 300 views, which are
much alike, gave MobileNetV2's logits a squared error of 0.1097 instead of 0.1086."""
MAKING_UP = 10000.0
"""Ten times that of ``RoundWeights``: what learns behind it makes up for earlier errors too, and better."""

_GLOBAL = {"relax.matmul", "relax.mean", "relax.nn.adaptive_avg_pool2d"}
"""Operators for which a part of an image is not enough."""


@module_pass(requires=FLOAT_WEIGHTS_OF_KNOWN_SCALES, ensures=(CALIBRATED,))
@dataclass(frozen=True)
class Reconstruct(ReadsSamples):
    """Round the weights and then learn, section by section; requires calibrated activations.

    What goes on from section to section is kept in temporary files.

    Attributes
    ----------
    learning : how.
    damping, fit_scales : as for ``RoundWeights``.
    """

    learning: Learning = field(default_factory=Learning)
    damping: float = DAMPING
    fit_scales: bool = True

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with new weights, biases, and steps of activations of fewer than 8 bits.

        Sections without weights or activations of fewer than 8 bits are only rounded.

        Raises
        ------
        TvmqError : as ``RoundWeights`` does.
        """
        rounding = RoundWeights(
            self.samples,
            self.damping,
            self.fit_scales,
            making_up=MAKING_UP,
            correlated=CORRELATED,
            runner=self.runner,
            progress=self.progress,
        )
        scheme = scheme_of(mod)
        rates = self.learning.rates
        if scheme is not None and scheme.power_of_two:
            rates = replace(rates, weight_scales=0.0, steps=0.0)
        elif not self.fit_scales:
            rates = replace(rates, weight_scales=0.0)
        return round_blocks(mod, rounding, _Refiner(replace(self.learning, rates=rates), scheme))


@dataclass(frozen=True)
class _Stage:
    """One way to see what a section does.

    Attributes
    ----------
    name : of it.
    seen : what is run of the section.
    records : of that.
    learning : how.
    """

    name: str
    seen: Callable[[Trainable], Trainable | Through]
    records: Iterator[Record]
    learning: Learning


@dataclass(frozen=True)
class _Refiner:
    learning: Learning
    scheme: Scheme | None

    layers = LAYERS

    def units(self, ahead: bool) -> int:
        return self._steps_alone(ahead) + (self.learning.ahead if ahead else 0)

    def _steps_alone(self, ahead: bool) -> int:
        # What none follows has no second stage, and is often the largest.
        return self.learning.steps * (1 if ahead else 2)

    def takes(self, part: IRModule) -> bool:
        """Return whether gradients can go through a block."""
        try:
            Trainable(part)
        except NoRule:
            return False
        return True

    def refine(self, block: Rounded, bar: Any) -> Changes:
        """Return what a section has learned; see ``rounding.Refine``."""
        block = replace(block, given=_compared(block.given), part=_compared(block.part))
        section = self._learner(block.part, block.whole, block.states.count)
        stages = () if section is None else self._stages(block)
        kept, rest = Changes(), self.units(block.ahead is not None)
        for stage in stages:
            records = Spool(stage.records).fill()
            before = error_of(stage.seen(section), records.spread(CHECKED))
            learn(stage.seen(section), records, stage.learning, bar)
            rest -= stage.learning.steps
            changes = self._changes(block.part, section)
            learned = Trainable(changes.put_into(block.part))
            after = error_of(stage.seen(learned), records.spread(CHECKED))
            name = next(iter(section.weights))
            logger.info("the section of layer %r, %s: error %.5f -> %.5f", name, stage.name, before, after)
            if not after < before:
                break
            kept = changes
        if bar is not None:
            bar.update(rest)
        return kept

    def _stages(self, block: Rounded) -> Iterator[_Stage]:
        """Give how a section learns, one after the other: by itself, and with what follows."""
        ahead, learning = block.ahead, self.learning
        exact, rng = Trainable(float_form(block.given)), np.random.default_rng(learning.seed)
        yield _Stage(
            "alone",
            lambda section: section,
            _records(block.part, exact, block.states, rng),
            replace(learning, steps=self._steps_alone(ahead is not None)),
        )
        if ahead is not None and learning.ahead > 0:
            behind = Trainable(ahead.part)
            yield _Stage(
                "and what follows",
                lambda section: Through(section, behind),
                _records_ahead(block.part, exact, block.states, ahead),
                replace(learning, steps=learning.ahead, batch=AHEAD_BATCH),
            )

    def _learner(self, part: IRModule, whole: Container[str], samples: int) -> Trainable | None:
        """Return the section with what learns from so many samples.

        None where nothing has few bits or gradients do not go through.
        """
        weights = [pair for pair in weight_pairs(part) if pair.name in whole]
        steps = [pair for pair in activation_pairs(part) if pair.bits < MAX_BITS]
        if not weights or not (steps or any(pair.bits < MAX_BITS for pair in weights)):
            return None
        learns = {pair.dequantize for pair in weights} | {pair.dequantize for pair in steps}
        try:
            rng = np.random.default_rng(self.learning.seed)
            return Trainable(part, learns, self.learning.rates, rng, samples)
        except NoRule as refusal:
            logger.info(
                "the section of layer %r is only rounded: no gradient of %s", weights[0].name, refusal
            )
            return None

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
        integers = learned.integers.astype(np.int8)
        return within_lanes(replace(pair, scales=learned.scales, integers=integers), call, self.scheme)


def _compared(part: IRModule) -> IRModule:
    """Return the part with what is compared, its results last.

    Where those are no images, they are few values, by which few samples are learned by heart: then what goes on from
    each block inside and the last image are compared too.
    """
    results = results_of(part)
    if not any(_is_image(result) for result in results):
        inside = [var for block in blocks_of(part)[:-1] for var in block.outputs]
        images = [pair.source for pair in activation_pairs(part) if _is_image(pair.source)]
        results = [*(var for var in dict.fromkeys([*inside, *images[-1:]]) if var not in results), *results]
    return cut_out(part, part["main"].params, results)


def _is_image(var: relax.Var) -> bool:
    return len(shape_of(var)) == 4 and max(shape_of(var)[2:]) > 1


def _records(
    part: IRModule, exact: Trainable, states: Iterable[State], rng: np.random.Generator
) -> Iterator[Record]:
    """Give each sample's record; of large images several, of parts at random, where a block allows that."""
    params = part["main"].params
    names = [param.name for param in params]
    stride = None
    if len(params) == 1 and not any(op_name(binding.value) in _GLOBAL for binding in bindings_of(part)):
        stride = _stride(params[0], results_of(part))
    for reference, quantized in states:
        first, second = ([channels_last(state[name]) for name in names] for state in (reference, quantized))
        windows = [...] if stride is None else _windows(first[0].shape, stride, rng)
        for window in windows:
            inputs = [array[window] for array in first]
            yield inputs, [array[window] for array in second], exact.forward(inputs)


def _records_ahead(
    part: IRModule, exact: Trainable, states: Iterable[State], ahead: Ahead
) -> Iterator[Record]:
    """Give each sample's record of a section with what follows; images are whole, for what looks at all of them."""
    names = [param.name for param in part["main"].params]
    for (reference, quantized), results in zip(states, ahead.results, strict=True):
        first, second = ([channels_last(state[name]) for name in names] for state in (reference, quantized))
        yield first, second, [*exact.forward(first), *map(channels_last, results)]


def _stride(image: relax.Var, results: list[relax.Var]) -> int | None:
    """Return how many times as large as the smallest of the results an image is; None where there is a non-image."""
    if not all(map(_is_image, (image, *results))):
        return None
    return max(
        -(-size // small)
        for result in results
        for size, small in zip(shape_of(image)[2:], shape_of(result)[2:], strict=True)
    )


def _windows(shape: tuple[int, ...], stride: int, rng: np.random.Generator) -> list[Any]:
    """Return what to see of an image ``[N, H, W, C]``: all, or parts of a large one.

    They begin at multiples of the stride, so that strided operators meet the same values.
    """
    crop = max(CROP, RESULT * stride)
    if max(shape[1:3]) <= crop:
        return [...]
    extents = [min(crop, extent) for extent in shape[1:3]]
    count = min(CROPS, -(-shape[1] * shape[2] // (extents[0] * extents[1])))
    windows = []
    for _ in range(count):
        top, left = (
            stride * int(rng.integers((size - extent) // stride + 1))
            for size, extent in zip(shape[1:3], extents, strict=True)
        )
        windows.append(np.s_[:, top : top + extents[0], left : left + extents[1]])
    return windows
