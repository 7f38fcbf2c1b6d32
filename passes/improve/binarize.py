"""Layers of a network that was not trained for it with one-bit activations and weights.

    conv2d(x, w)  -->  conv2d(where(x >= t, h, l), a sign(w))

    weights        a = mean |w| of each output channel: the least squared error (XNOR-Net, Rastegari et al., 2016)
    activations    signs, l = -h and h = mean |x|, likewise; of what is never below 0, {0, h} and t = h / 2, h being
                   the mean of what is above t (Lloyd, 1982)

Both can stand for the zeros of a padding. What is left of the network's outputs is measured, and said: without training
it is little.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import IRModule, relax

from ...errors import TvmqError
from ..annotate.options import QuantizeOptions
from ..annotate.selection import matches, select
from ..calibrate.histogram import BINS, Histogram
from ..calibrate.kept_outputs import KeptOutputs
from ..calibrate.nearness import nearness
from ..calibrate.on_samples import ReadsSamples
from ..calibrate.watch import watch, watched
from ..hub.conditions import UNQUANTIZED_MODEL
from ..hub.contract import module_pass
from ..hub.graph import (
    bindings_of,
    constant,
    layer_name,
    op_name,
    rebuild,
    results_of,
    to_numpy,
    with_layer_name,
)
from ..hub.layers import get_layers
from ..hub.operators import OPERATORS, WEIGHT_AXIS
from ..hub.parameters import along
from ..hub.two_valued import binary_layers
from ..prepare.affine import is_depthwise

logger = logging.getLogger(__name__)

ROUNDS = 50
"""Of Lloyd's iteration."""

ONE_BIT = (1, (1, 1))
"""What a user says for a layer of one-bit weights, and so activations."""


@module_pass(requires=UNQUANTIZED_MODEL)
@dataclass(frozen=True)
class Binarize(ReadsSamples):
    """Give weighted layers data and weights of two values; the first, the last and depthwise ones stay as they are.

    Attributes
    ----------
    options : the user's choices: what stays in float, and ``bits`` of single layers, of which 1 asks for this and
        others spare a layer it.
    all_layers : not only those for which ``options.bits`` ask.
    outputs : takes in what the float model gives for the first samples, on which what is left is measured.
    """

    options: QuantizeOptions = QuantizeOptions()
    all_layers: bool = True
    outputs: KeptOutputs = field(default_factory=KeptOutputs)

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with two-valued data and weights.

        Raises
        ------
        TvmqError : a layer that is asked for cannot have one bit, or is not in the model; no samples.
        """
        layers = self._layers(mod)
        if not layers:
            return mod
        values = {binding.var: binding.value for binding in bindings_of(mod)}
        sources = {values[var].args[0]: Histogram() for var in layers}
        watchers = {source: [histogram] for source, histogram in sources.items()}
        watch(
            *(mod, watchers, self.samples, self.runner, self.progress, "measure one-bit activations"),
            outputs=self.outputs,
        )
        steps = {source: _step_of(histogram) for source, histogram in sources.items()}
        binarized = _rewritten(mod, layers, steps)
        self._say_what_is_left(binarized, len(layers))
        return binarized

    def _layers(self, mod: IRModule) -> set[relax.Var]:
        """Return the results of the layers that are to have one bit and have more."""
        selection = select(get_layers(mod), self.options)
        weighted = [
            (binding.var, binding.value)
            for binding in bindings_of(mod)
            if op_name(binding.value) in WEIGHT_AXIS
            and not OPERATORS[op_name(binding.value)].refuse(binding.value)
        ]
        already, chosen = binary_layers(mod), set()
        found = dict.fromkeys(pattern for pattern, bits in self.options.bits.items() if bits in ONE_BIT)
        for place, (var, call) in enumerate(weighted):
            name = layer_name(call)
            asked, said = self.all_layers and place not in (0, len(weighted) - 1), False
            for pattern, bits in self.options.bits.items():
                if matches(pattern, name):
                    asked = said = bits in ONE_BIT
                    if said:
                        found[pattern] = True
            if not asked or name in selection.skipped or name in selection.unwanted or var in already:
                continue
            if is_depthwise(call):
                if said:
                    raise TvmqError(
                        f"layer {name!r} cannot have 1 bit: each of its sums has a channel's few products"
                    )
                continue
            chosen.add(var)
        for pattern, met in found.items():
            if not met:
                raise TvmqError(
                    f"no layer {pattern!r} can have 1 bit: none of that name multiplies by constant weights"
                )
        return chosen

    def _say_what_is_left(self, binarized: IRModule, layers: int) -> None:
        run = self.runner(watched(binarized, results_of(binarized)))
        pairs = self.outputs.pairs
        given = [[np.array(value) for value in run(dict(sample))] for sample, _ in pairs]
        logger.warning(
            "%s one bit now, for which the model was not trained: on %d samples the cosine of its outputs to the "
            "float model's is %.3f",
            *("1 layer has" if layers == 1 else f"{layers} layers have", len(pairs)),
            nearness([outputs for _, outputs in pairs], given),
        )


@dataclass(frozen=True)
class _Step:
    """``high`` from ``threshold`` on, ``low`` below."""

    threshold: float
    low: float
    high: float


def _step_of(histogram: Histogram) -> _Step:
    """Return the two values that stand for a distribution with the least squared error."""
    centers, counts = histogram.centers, histogram.counts
    if histogram.low < 0.0:
        size = float(np.abs(centers) @ counts / max(counts.sum(), 1.0))
        return _Step(0.0, -_positive(size), _positive(size))
    centers, counts = centers[BINS:], counts[BINS:]
    high = float(centers @ counts / max(counts.sum(), 1.0))
    for _ in range(ROUNDS):
        above = centers > high / 2
        high = float(centers[above] @ counts[above] / max(counts[above].sum(), 1.0)) or high
    return _Step(_positive(high) / 2, 0.0, _positive(high))


def _positive(size: float) -> float:
    """Return a size that float32 can tell from 0."""
    return max(size, 1e-20)


def _rewritten(mod: IRModule, layers: set[relax.Var], steps: dict[relax.Expr, _Step]) -> IRModule:
    old = {binding.var: binding.value for binding in bindings_of(mod)}
    made: dict[relax.Expr, relax.Var] = {}

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if var not in layers:
            return value
        source, name = old[var].args[0], layer_name(value)
        if source not in made:
            step = steps[source]
            limits = (relax.const(np.float32(number)) for number in (step.threshold, step.high, step.low))
            threshold, high, low = limits
            reached = builder.emit(with_layer_name(relax.op.greater_equal(value.args[0], threshold), name))
            made[source] = builder.emit(with_layer_name(relax.op.where(reached, high, low), name))
        weight, axis = to_numpy(value.args[1]), WEIGHT_AXIS[op_name(value)]
        others = tuple(place for place in range(weight.ndim) if place != axis)
        size = np.maximum(np.abs(weight).mean(axis=others, dtype=np.float64), 1e-20)
        signs = np.where(weight >= 0, 1.0, -1.0) * along(size, axis, weight.ndim)
        args = [made[source], constant(signs.astype(np.float32))]
        return relax.Call(value.op, args, value.attrs, value.ty_args, span=value.span)

    return rebuild(mod, rewrite)


def without_one_bit(options: QuantizeOptions) -> QuantizeOptions:
    """Return the options without the layers of one bit, for what knows more bits only."""
    bits = {pattern: bits for pattern, bits in options.bits.items() if bits not in ONE_BIT}
    return dataclasses.replace(options, bits=bits)
