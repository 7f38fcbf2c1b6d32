"""Bias correction layer by layer: each takes off the mean error that all before it, and its own weights, leave.

    b' = b + E[W x] - E[Q x']       x: the layer's input in the float model, x' in the quantized one as corrected so far

``CorrectBias`` corrects what rounding the layer's own weights does to the float model's input. Here the errors of the
activations before it, clipped values among them, are corrected too, as far as they are an offset of a channel (Nagel
et al., "A white paper on neural network quantization", 2021, section 3.4). The means are those of the results, so
that what padding does at the borders is in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from tvm import IRModule, relax

from ..calibrate.sample_check import Sample
from ..calibrate.spool import Spool
from ..calibrate.watch import Progress, Runner, compile_for_host
from ..hub.graph import bindings_of, op_name
from ..hub.pairs import float_form, weight_pairs
from ..prepare.affine import CHANNEL_AXIS
from .bias_correction import ChannelMean, shift_results
from .blocks import Block, blocks_of, cut_out
from .walk import (
    Reader,
    State,
    check_calibrated,
    check_finite,
    exact_form,
    first_states,
    next_states,
    quantized_form,
    readers_in,
)


@tvm.transform.module_pass(opt_level=0, name="tvmq.CorrectBiasSequentially")
@dataclass(frozen=True)
class CorrectBiasSequentially:
    """Correct the biases of quantized layers in their order; requires calibrated weights, still float, and activations.

    Attributes
    ----------
    samples, runner, progress : as for ``Calibrate``. What goes on from block to block is kept in a temporary file.
    """

    samples: Iterable[Sample]
    runner: Runner = compile_for_host
    progress: Progress | None = None

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with corrected biases; a layer without a bias gets one.

        Raises
        ------
        TvmqError : activations without parameters; no samples, or one that does not fit the model's inputs; a layer
            that gives NaN or infinity.
        """
        check_calibrated(mod)
        layers = sum(len(pair.readers) for pair in weight_pairs(mod) if not pair.is_unknown)
        if not layers:
            return mod
        work = _Work(mod, self)
        total = layers * len(self.samples) if isinstance(self.samples, Sized) else None
        states = first_states(mod, self.samples)
        with nullcontext() if self.progress is None else self.progress("correct biases", total) as bar:
            for block in blocks_of(mod):
                states = work.correct(block, states, bar)
        return shift_results(mod, work.shifts)


@dataclass
class _Work:
    """What has been decided so far: ``shifts`` of the module's weighted results; ``seen`` readers of each pair."""

    mod: IRModule
    options: CorrectBiasSequentially
    shifts: dict[relax.Var, np.ndarray] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    def correct(self, block: Block, states: Spool[State], bar: Any) -> Spool[State]:
        """Correct the layers of a block; return what goes on from it."""
        part = cut_out(self.mod, block.inputs, block.outputs)
        reference = float_form(part)
        pairs = {pair.name: pair for pair in weight_pairs(self.mod)}
        readers = [
            reader for reader in readers_in(self.mod, block, part) if not pairs[reader.name].is_unknown
        ]
        wanted = self._wanted(part, readers, states)
        for reader, mean in zip(readers, wanted, strict=True):
            shift = mean - self._given(part, reader, states, bar)
            part = shift_results(part, {reader.find(part): shift})
            index = self.seen[reader.name] = self.seen.get(reader.name, -1) + 1
            self.shifts[pairs[reader.name].readers[index]] = shift
        return next_states(part, reference, block, states, self.options.runner)

    def _wanted(self, part: IRModule, readers: list[Reader], states: Iterable[State]) -> list[np.ndarray]:
        """Return the mean result of each layer in the float model, ``[O]``."""
        if not readers:
            return []
        found = [reader.find(part) for reader in readers]
        means = [_mean_of(part, var) for var in found]
        run = self.options.runner(exact_form(part, found))
        for number, (exact, _) in enumerate(states):
            for reader, mean, values in zip(readers, means, run(exact), strict=True):
                check_finite(number, f"layer {reader.name!r}", values)
                mean.update(values)
        return [mean.mean for mean in means]

    def _given(self, part: IRModule, reader: Reader, states: Iterable[State], bar: Any) -> np.ndarray:
        """Return a layer's mean result in the quantized model as it stands, ``[O]``."""
        var = reader.find(part)
        mean = _mean_of(part, var)
        run = self.options.runner(quantized_form(part, [var]))
        for number, (_, quantized) in enumerate(states):
            (values,) = run(quantized)
            check_finite(number, f"layer {reader.name!r}", values)
            mean.update(values)
            if bar is not None:
                bar.update(1)
        return mean.mean


def _mean_of(part: IRModule, weighted: relax.Var) -> ChannelMean:
    call = next(binding.value for binding in bindings_of(part) if binding.var.same_as(weighted))
    return ChannelMean(CHANNEL_AXIS[op_name(call)])
