"""The float model and the simulation side by side over the samples --> a report.

    float         x -> conv -> y               every y of the float model is compared with
    simulation    q(x) -> conv(q(w)) -> q(y)   q(y) here (accumulated), and with its own rounding (local)

Both run once for each sample, and only sums and histograms are kept. Where a method has changed the user's weights
before anything was quantized, the float model is the changed one, whose tensors have the simulation's units; its
outputs are those of the user's model still.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice

import numpy as np
from tvm import IRModule, relax

from ..errors import TvmqError
from ..passes.calibrate.sample_check import Sample, check_sample
from ..passes.calibrate.watch import Progress, Runner, compile_for_host
from ..passes.hub.graph import (
    activations,
    bindings_of,
    extents_of,
    input_specs,
    layer_name,
    op_name,
    output_names,
    rebuild,
    results_of,
)
from ..passes.hub.layers import get_layers
from ..passes.hub.pairs import activation_pairs, float_form, transparent, weight_pairs
from ..passes.hub.product_choices import CHOSEN
from ..passes.hub.steps import simulated_form
from .advice import with_advice
from .records import Bars, LayerRecord, TensorRecord
from .report import Report
from .stages import Stages
from .statistics import ChannelRange
from .watchers import ActivationWatcher, OutputWatcher, weight_record

SAMPLES = 100
"""That a report takes unless told otherwise: figures change little beyond."""

_JOINS = ("relax.add", "relax.concat")
"""Operators whose result has one scale for all that they add or join."""


def last_axis(value: relax.Expr) -> int | None:
    """Return the last axis, as that of channels; None where it is open."""
    extents = extents_of(value)
    return -1 if extents and isinstance(extents[-1], int) else None


def collect(
    stages: Stages,
    scheme: str,
    samples: Iterable[Sample],
    limit: int | None = SAMPLES,
    runner: Runner = compile_for_host,
    progress: Progress | None = None,
) -> Report:
    """Return the report of a quantized module.

    Parameters
    ----------
    limit : at most so many samples, from the start; None takes all.
    runner, progress : as for ``Calibrate``.

    Raises
    ------
    TvmqError : no samples; one that does not fit the model's inputs; a layer that gives NaN or infinity.
    """
    if limit is not None and limit < 1:
        raise TvmqError(f"a report needs at least one sample, got a limit of {limit}")
    run = _SideBySide(stages, runner)
    count = run.over(samples, limit, progress)
    tensors, bars = _in_graph_order(stages.simulated, run.watchers)
    if stages.untuned is not None:
        before = _SideBySide(replace(stages, simulated=stages.untuned), runner)
        before.over(samples, limit, progress)
        tensors = _beside(tensors, _in_graph_order(stages.untuned, before.watchers)[0])
    layers = _layers(stages.simulated, run.operands)
    outputs = [watcher.record() for watcher in run.outputs]
    return with_advice(Report(scheme, count, tensors, outputs, layers, bars))


class _SideBySide:
    """The modules, compiled to give all that is compared.

    Attributes
    ----------
    watchers : of the activations, by the names of their pairs.
    outputs : of the model's outputs.
    operands : by the name of a layer that adds or joins, the range of each operand.
    """

    def __init__(self, stages: Stages, runner: Runner):
        exact, simulated = stages.exact, stages.simulated
        self._specs = input_specs(exact)
        sources = {pair.name: pair for pair in activation_pairs(exact)}
        pairs = [pair for pair in activation_pairs(simulated) if pair.name in sources]
        joins = _joins(exact)
        self.watchers = {
            pair.name: ActivationWatcher(pair, pair.name in self._specs, extents_of(pair.source))
            for pair in pairs
        }
        self.outputs = [OutputWatcher(name) for name in output_names(exact)]
        self.operands = {
            name: [ChannelRange(last_axis(operand)) for operand in operands]
            for name, operands in joins.items()
        }
        self._run_exact = runner(
            float_form(
                exact,
                relax.Tuple(
                    [
                        *(sources[pair.name].source for pair in pairs),
                        *results_of(exact),
                        *(var for operands in joins.values() for var in operands),
                    ]
                ),
            )
        )
        self._run_model = None
        if stages.model is not None:
            self._run_model = runner(float_form(stages.model, relax.Tuple(results_of(stages.model))))
        found = [*(pair.dequantize for pair in pairs), *results_of(simulated)]
        self._run_simulated = runner(
            simulated_form(rebuild(simulated, lambda builder, var, value: value, result=relax.Tuple(found)))
        )

    def over(self, samples: Iterable[Sample], limit: int | None, progress: Progress | None) -> int:
        """Run the samples and return how many there were."""
        total = len(samples) if isinstance(samples, Sized) else None
        if limit is not None:
            total = limit if total is None else min(limit, total)
        count = 0
        with nullcontext() if progress is None else progress("report", total) as bar:
            for count, sample in enumerate(islice(samples, limit), start=1):
                check_sample(sample, count - 1, self._specs)
                self._update(dict(sample), count - 1)
                if bar is not None:
                    bar.update(1)
        if not count:
            raise TvmqError("there are no samples for the report; at least one is needed")
        return count

    def _update(self, sample: dict[str, np.ndarray], index: int) -> None:
        exact, simulated = list(self._run_exact(sample)), self._run_simulated(sample)
        if self._run_model is not None:
            place = len(self.watchers)
            exact[place : place + len(self.outputs)] = self._run_model(sample)
        compared: list[tuple[str, ActivationWatcher | OutputWatcher]] = [
            *self.watchers.items(),
            *(("the output", watcher) for watcher in self.outputs),
        ]
        for (name, watcher), before, after in zip(compared, exact, simulated, strict=False):
            if not all(np.isfinite(values.sum(dtype=np.float64)) for values in (before, after)):
                raise TvmqError(f"sample {index}: {name!r} gives NaN or infinity")
            watcher.update(before, after)
        ranges = [item for group in self.operands.values() for item in group]
        for item, values in zip(ranges, exact[len(compared) :], strict=True):
            item.update(values)


def _joins(mod: IRModule) -> dict[str, list[relax.Var]]:
    """Return the operands of each layer that adds or joins several activations."""
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    skipped = transparent(mod)

    def source(var: relax.Var) -> relax.Var:
        while var in skipped:
            var = values[var].args[0]
        return var

    found = {}
    for value in values.values():
        if op_name(value) in _JOINS:
            operands = [source(var) for var in _operands(value, values)]
            if len(operands) > 1 and layer_name(value):
                found[layer_name(value)] = operands
    return found


def _operands(call: relax.Call, values: Mapping[relax.Var, relax.Expr]) -> list[relax.Var]:
    """Return the tensors that a call reads; a tuple may have a name of its own."""
    read = activations(call)
    tuples = [values[var] for var in read if isinstance(values.get(var), relax.Tuple)]
    return [var for item in tuples for var in activations(item)] if tuples else read


def _in_graph_order(
    mod: IRModule, watchers: Mapping[str, ActivationWatcher]
) -> tuple[list[TensorRecord], list[Bars]]:
    """Return the records and histograms of all tensors in the order of their pairs."""
    places = {binding.var: place for place, binding in enumerate(bindings_of(mod))}
    found: list[tuple[int, tuple[TensorRecord, Bars]]] = []
    for weights in weight_pairs(mod):
        if not weights.is_unknown:
            found.append((places[weights.quantize], weight_record(weights)))
    for pair in activation_pairs(mod):
        if pair.name in watchers:
            watcher = watchers[pair.name]
            found.append((places[pair.quantize], (watcher.record(), watcher.bars())))
    ordered = [records for _, records in sorted(found, key=lambda item: item[0])]
    return [record for record, _ in ordered], [bars for _, bars in ordered]


def _beside(tensors: list[TensorRecord], untuned: list[TensorRecord]) -> list[TensorRecord]:
    """Return the records with the errors that the same tensors had before fine-tuning."""
    return [
        replace(after, untuned_sqnr=before.accumulated_sqnr)
        for after, before in zip(tensors, untuned, strict=True)
    ]


def _layers(mod: IRModule, operands: Mapping[str, Sequence[ChannelRange]]) -> list[LayerRecord]:
    sizes = {pair.name: -(-pair.integers.size * pair.bits // 8) for pair in weight_pairs(mod)}
    return [
        LayerRecord(
            layer.name,
            layer.op,
            layer.status,
            layer.reason or layer.details.get(CHOSEN, ""),
            layer.details.get("fused_into", ""),
            sizes.get(layer.name, 0),
            operands=tuple(item.largest for item in operands.get(layer.name, ())),
        )
        for layer in get_layers(mod)
    ]
