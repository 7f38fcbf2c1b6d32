"""Weights rounded so that each layer of the quantized network gives what it gives in the float model.

    minimize E |Q x' + b' - W x - b|^2      x: the layer's input in the float model, x' in the quantized one
    -->  W* = W (C + M) (H + M)^-1           H = cov(x', x'),  C = cov(x, x'),  M = m r K / n diag(H)
         Q nearest to W* in the metric H + R,   R = r diag(H),  b' = b + W E[x] - Q E[x']

The layers are taken in their order, each with the inputs that all before it leave it, so that a layer makes up for
the errors before it: those of weights, and of activations too. ``W*`` is the least squares fit of the float result
from the quantized input (the asymmetric calibration of Li et al., GPTAQ, 2025, in closed form). It is held near ``W``
by a ridge of its own, that has the more weight the fewer columns ``n`` there are for the ``K`` weights of a row: on few
the fit is one to them alone, and to their clipped values above all.
``passes.improve.lattice`` finds the integers (Frantar et al., GPTQ, 2023). The bias takes what is left of the mean
error, so this pass does the work of ``CorrectBias`` too.

A weight that several operators read is rounded for the sum of their errors, where the last of them stands.
"""

from __future__ import annotations

from collections.abc import Container, Sized
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import tvm
from tvm import IRModule, relax

from ...errors import TvmqError
from ..calibrate.on_samples import ReadsSamples
from ..calibrate.spool import Spool, spread
from ..hub.annotation import scheme_of
from ..hub.conditions import CALIBRATED, FLOAT_WEIGHTS_OF_KNOWN_SCALES
from ..hub.contract import module_pass
from ..hub.graph import bindings_of, layer_name
from ..hub.pairs import (
    ActivationParameters,
    WeightParameters,
    activation_pairs,
    edit,
    float_form,
    weight_pairs,
)
from .bias_correction import shift_results
from .blocks import Block, blocks_of, cut_out, sections_of
from .gram import Moments
from .outlook import Ahead, Outlook
from .round_layer import DAMPING, MAKING_UP, LayerOptions, rounded, shift_of
from .walk import (
    Reader,
    State,
    check_finite,
    exact_form,
    first_states,
    next_states,
    quantized_form,
    readers_in,
)


@module_pass(requires=FLOAT_WEIGHTS_OF_KNOWN_SCALES, ensures=(CALIBRATED,))
@dataclass(frozen=True)
class RoundWeights(ReadsSamples):
    """Choose integers, scales and biases of the weights layer by layer; requires calibrated activations.

    What goes on from block to block is kept in a temporary file.

    Attributes
    ----------
    damping : the share ``r``: how far correlations in few samples are distrusted. At 1 they count half. Less fits the
        samples better, and others worse.
    fit_scales : choose weight scales too; else, and where they are powers of two, they stay as they are.
    making_up : the factor ``m``: how far what few samples show of earlier errors is distrusted.
    correlated : samples whose correlations are taken, at most, evenly spread; None for all.
    """

    damping: float = DAMPING
    fit_scales: bool = True
    making_up: float = MAKING_UP
    correlated: int | None = None

    def __post_init__(self) -> None:
        for which in ("damping", "making_up"):
            if not 0.0 < getattr(self, which) < np.inf:
                raise TvmqError(f"{which} must be a positive number, got {getattr(self, which)}")
        if self.correlated is not None and self.correlated < 1:
            raise TvmqError(f"correlated must be at least 1, got {self.correlated}")

    def chosen(self, samples: int) -> range:
        """Return which of so many samples' correlations are taken."""
        return range(samples) if self.correlated is None else spread(samples, self.correlated)

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with new weights and biases.

        Raises
        ------
        TvmqError : no samples, or one that does not fit the model's inputs; a layer
            that gives NaN or infinity.
        """
        return round_blocks(mod, self)


@dataclass(frozen=True)
class Changes:
    """New parameters of a module's pairs, and shifts ``[O]`` of the results of their readers, by the pairs' names.

    ``shifts`` has one for each reader, in the order of ``WeightPair.readers``.
    """

    weights: dict[str, WeightParameters] = field(default_factory=dict)
    activations: dict[str, ActivationParameters] = field(default_factory=dict)
    shifts: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def put_into(self, mod: IRModule) -> IRModule:
        """Return the module with the changes."""
        mod = edit(mod, self.activations, self.weights)
        return shift_results(
            mod,
            {
                reader: shift
                for pair in weight_pairs(mod)
                for reader, shift in zip(pair.readers, self.shifts.get(pair.name, ()), strict=False)
            },
        )


@dataclass(frozen=True)
class Rounded:
    """A block whose weights have been rounded.

    Attributes
    ----------
    given, part : the block as it was and as it has been rounded; their parameters are those of the states.
    whole : the pairs of weights, by their names in ``part``, that have been rounded and no other block reads.
    states : what goes into the block for each sample; all used before where weights have been rounded.
    ahead : the blocks that follow, up to the first that is not taken; None where there are none.
    """

    given: IRModule
    part: IRModule
    whole: Container[str]
    states: Spool[State]
    ahead: Ahead | None


class Refine(Protocol):
    """Betters a block when its weights have been rounded.

    ``layers`` is how many its blocks should have at least.
    """

    @property
    def layers(self) -> int: ...

    def units(self, ahead: bool) -> int:
        """Return what the progress bar counts for a block that others follow, or that none follows."""
        ...

    def takes(self, part: IRModule) -> bool:
        """Return whether it can better a block."""
        ...

    def refine(self, block: Rounded, bar: Any) -> Changes:
        """Return changes of the block's ``part``."""
        ...


def round_blocks(mod: IRModule, options: RoundWeights, refiner: Refine | None = None) -> IRModule:
    """Return the module with the weights of one block after the other rounded, and then refined.

    Raises
    ------
    TvmqError : as ``RoundWeights`` does.
    """
    layers = [pair for pair in weight_pairs(mod) if pair.readers and not pair.is_unknown]
    if not layers:
        return mod
    work = _Work(mod, options, refiner, {pair.name: len(pair.readers) for pair in layers})
    blocks = blocks_of(mod) if refiner is None else _sections(mod, refiner)
    states = first_states(mod, options.samples)
    following: list[Ahead | None] = [None] * len(blocks)
    if refiner is not None:
        outlook = Outlook(mod, blocks, refiner.takes, states, options.runner)
        following = [outlook.behind(place) for place in range(len(blocks))]
    total = None
    if isinstance(options.samples, Sized):
        total = sum(work.waiting.values()) * len(options.chosen(len(options.samples)))
        total += 0 if refiner is None else sum(refiner.units(ahead is not None) for ahead in following)
    progress = options.progress
    with nullcontext() if progress is None else progress("round weights", total) as bar:
        for block, ahead in zip(blocks, following, strict=True):
            states = work.improve(block, states, ahead, bar)
    return work.changes.put_into(mod)


def _sections(mod: IRModule, refiner: Refine) -> list[Block]:
    return sections_of(
        mod, refiner.layers, lambda block: refiner.takes(cut_out(mod, block.inputs, block.outputs))
    )


@dataclass
class _Work:
    """What has been decided so far.

    Attributes
    ----------
    waiting : for each weight how many of its readers have not been reached yet.
    seen : for each weight that waits for readers, the calls of those before with their moments.
    changes : what was decided.
    """

    mod: IRModule
    options: RoundWeights
    refiner: Refine | None
    waiting: dict[str, int]
    seen: dict[str, list[tuple[relax.Call, Moments]]] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)

    def improve(self, block: Block, states: Spool[State], ahead: Ahead | None, bar: Any) -> Spool[State]:
        """Round the weights of a block; return what goes on from it."""
        given = part = cut_out(self.mod, block.inputs, block.outputs)
        for reader in readers_in(self.mod, block, part):
            if reader.name in self.waiting:
                part = self._round(given, part, reader, states, bar)
        if self.refiner is not None:
            part = self._refine(self.refiner, block, given, part, states, ahead, bar)
        return next_states(part, float_form(given), block, states, self.options.runner)

    def _round(
        self, given: IRModule, part: IRModule, reader: Reader, states: Spool[State], bar: Any
    ) -> IRModule:
        """Return the part of the module with one layer's weights rounded, where the last of their readers is.

        ``given`` is the part as it was: the biases of what has been rounded are no longer those of the float model.
        """
        name, call = reader.name, _call_of(part, reader)
        moments = Moments(call)
        exact = self.options.runner(exact_form(given, [_call_of(given, reader).args[0]]))
        quantized = self.options.runner(quantized_form(part, [call.args[0]]))
        for number in self.options.chosen(states.fill().count):
            first, second = states[number]
            values = exact(first)[0], quantized(second)[0]
            check_finite(number, f"the input of layer {layer_name(call)!r}", *values)
            moments.update(*values)
            if bar is not None:
                bar.update(1)
        self.seen.setdefault(name, []).append((call, moments))
        self.waiting[name] -= 1
        if self.waiting[name]:
            return part
        pair = weight_pairs(part)[reader.place]
        seen = self.seen.pop(name)
        options = LayerOptions(self.options.damping, self.options.making_up, self.options.fit_scales)
        new = rounded(pair, seen, options, scheme_of(part))
        part = edit(part, weights={pair.name: new})
        pair = weight_pairs(part)[reader.place]
        shifts = [shift_of(pair, *each) for each in seen]
        self.changes.weights[name], self.changes.shifts[name] = new, shifts
        return shift_results(part, dict(zip(pair.readers, shifts[-reader.index - 1 :], strict=False)))

    def _refine(
        self,
        refiner: Refine,
        block: Block,
        given: IRModule,
        part: IRModule,
        states: Spool[State],
        ahead: Ahead | None,
        bar: Any,
    ) -> IRModule:
        """Return the part of the module refined; note what changes under the names of the whole module."""
        # A part has its pairs in the module's order.
        weights = {
            new.name: old
            for new, old in zip(
                weight_pairs(part),
                (pair for pair in weight_pairs(self.mod) if pair.dequantize in block.members),
                strict=True,
            )
        }
        steps = {
            new.name: old.name
            for new, old in zip(
                activation_pairs(part),
                (pair for pair in activation_pairs(self.mod) if pair.dequantize in block.members),
                strict=True,
            )
        }
        whole = {
            pair.name
            for pair in weight_pairs(part)
            if weights[pair.name].name in self.changes.weights
            and len(pair.readers) == len(weights[pair.name].readers)
        }
        changes = refiner.refine(Rounded(given, part, whole, states, ahead), bar)
        self.changes.weights.update({weights[name].name: new for name, new in changes.weights.items()})
        self.changes.activations.update({steps[name]: new for name, new in changes.activations.items()})
        for name, shifts in changes.shifts.items():
            before = self.changes.shifts[weights[name].name]
            self.changes.shifts[weights[name].name] = [
                old + new for old, new in zip(before, shifts, strict=True)
            ]
        return changes.put_into(part)


def _call_of(part: IRModule, reader: Reader) -> relax.Call:
    var = reader.find(part)
    return next(binding.value for binding in bindings_of(part) if binding.var.same_as(var))
