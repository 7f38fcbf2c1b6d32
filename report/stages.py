"""The modules along the way of quantization that a report compares.

    exact       the first one that has pairs: its float form computes what the user's model does
    simulated   what ``FoldWeights`` is given: final parameters and biases, and the weights still float
    model       the user's, where a method before the pairs has changed its weights, such as equalization
    untuned     what fine-tuning was given, where there was any

The first two have pairs in the same places, under the same names. A module that came quantized has no such history:
there its own pairs are taken away for the float model, and its weights are what they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import IRModule

from ..memory import give_back
from ..passes.hub.annotation import has_pairs
from ..passes.realize.fold_weights import FoldWeights
from ..passes.scripting.pass_list import Pipeline
from ..passes.train.fine_tune import FineTune


@dataclass(frozen=True)
class Stages:
    """See above; they share their weights in memory. ``model`` is None where ``exact`` has the user's weights."""

    exact: IRModule
    simulated: IRModule
    model: IRModule | None = None
    untuned: IRModule | None = None


def run_passes(mod: IRModule, passes: Pipeline) -> tuple[IRModule, Stages]:
    """Run the passes; return the result and the stages on the way to it."""
    exact = simulated = model = untuned = None
    result = mod
    for step, before, result in passes.steps(mod):
        give_back()
        if isinstance(step, FoldWeights):
            simulated = before
        if isinstance(step, FineTune):
            untuned = before
        if exact is None and has_pairs(result):
            exact, model = result, None if before.same_as(mod) else mod
    return result, Stages(exact or result, simulated or result, model, untuned)
