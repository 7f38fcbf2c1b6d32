"""The modules along the way of quantization that a report compares.

    exact       the first one that has pairs: its float form computes what the user's model does
    simulated   what ``FoldWeights`` is given: final parameters and biases, and the weights still float
    model       the user's, where a method before the pairs has changed its weights, such as equalization

The first two have pairs in the same places, under the same names. A module that came quantized has no such history:
there its own pairs are taken away for the float model, and its weights are what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import IRModule
from tvm.ir.transform import Pass

from ..passes.hub.annotation import has_pairs
from ..passes.realize.fold_weights import FoldWeights


@dataclass(frozen=True)
class Stages:
    """See above; they share their weights in memory. ``model`` is None where ``exact`` has the user's weights."""

    exact: IRModule
    simulated: IRModule
    model: IRModule | None = None


def run_passes(mod: IRModule, passes: Sequence[Pass]) -> tuple[IRModule, Stages]:
    """Run the passes in turn, as ``Sequential`` does; return the result and the stages on the way to it."""
    exact = simulated = model = None
    given = mod
    for step in passes:
        if isinstance(step, FoldWeights):
            simulated = mod
        before, mod = mod, step(mod)
        if exact is None and has_pairs(mod):
            exact, model = mod, None if before.same_as(given) else given
    return mod, Stages(exact or mod, simulated or mod, model)
