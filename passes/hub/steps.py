"""Quantized activations in float arithmetic: what a module with pairs computes, many times faster.

    dequantize(quantize(x))   -->   clip(round(x / step), low, high) * step

with ``low`` and ``high`` as multiples of the step. They are constants in the simulation, or inputs of the function:
what looks for good parameters by running the model with many of them compiles it once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import IRModule, relax

from .graph import Rewrite, constant, rebuild, results_of
from .pairs import ActivationPair, activation_pairs, members, weight_pairs
from .parameters import activation_limits

FIELDS = ("step", "low", "high")

FINE = 2.0**-12
"""Of a step of its own an activation has this, at the most, where it is to be as good as float."""


@dataclass(frozen=True)
class Steps:
    """Parameters of an activation: its step and the limits of the multiples of it, all float32."""

    step: float
    low: float
    high: float

    @property
    def fine(self) -> Steps:
        """The same activation without limits and in steps of about 2^-20 of its range: float, for a comparison."""
        largest = float(np.finfo(np.float32).max)
        return Steps(float(2.0 ** np.floor(np.log2(self.step * FINE))), -largest, largest)


def steps_of(mod: IRModule) -> dict[str, Steps]:
    """Return the parameters of the module's activation pairs, by name."""
    return {pair.name: steps_for(pair, pair.scale, pair.zero_point) for pair in activation_pairs(mod)}


def steps_for(pair: ActivationPair, scale: float, zero_point: int) -> Steps:
    """Return what these parameters mean for an activation of the pair's dtype and bits."""
    first, last = activation_limits(pair.dtype, pair.bits)
    return Steps(scale, first - zero_point, last - zero_point)


def parameter(pair_name: str, which: str) -> str:
    """Return the name of the function's parameter for a field of ``Steps``."""
    return f"{which}:{pair_name}"


def scalars_for(pair_name: str) -> list[relax.Var]:
    """Return new parameters of a function, float32 scalars, for the fields of ``Steps`` in their order."""
    return [relax.Var(parameter(pair_name, which), relax.TensorType((), "float32")) for which in FIELDS]


def arguments(steps: Mapping[str, Steps]) -> dict[str, np.ndarray]:
    """Return the values of those parameters by their names."""
    return {
        parameter(name, which): np.array(getattr(activation, which), np.float32)
        for name, activation in steps.items()
        for which in FIELDS
    }


def stepped(builder: relax.BlockBuilder, value: relax.Expr, scalars: Sequence[relax.Expr]) -> relax.Call:
    """Return the value in steps; ``scalars`` are those of ``scalars_for``."""
    step, low, high = scalars
    count = builder.emit(relax.op.round(builder.emit(relax.op.divide(value, step))))
    clipped = builder.emit(relax.op.minimum(builder.emit(relax.op.maximum(count, low)), high))
    return relax.op.multiply(clipped, step)


def stepped_form(mod: IRModule) -> IRModule:
    """Return a module with pairs as one with float weights and stepped activations.

    Its ``main`` takes the model's inputs and a scalar for each parameter of each activation, and returns a tuple.
    """
    scalars = {pair.dequantize: scalars_for(pair.name) for pair in activation_pairs(mod)}
    params = [*mod["main"].params, *(scalar for group in scalars.values() for scalar in group)]
    rewrite = _rewrite(mod, scalars, {})
    return relax.transform.DeadCodeElimination()(
        rebuild(mod, rewrite, params=params, result=relax.Tuple(results_of(mod)))
    )


def simulated_form(mod: IRModule) -> IRModule:
    """Return a module with pairs, all of them known, in float arithmetic: the same results up to its rounding."""
    scalars = {
        pair.dequantize: _constants(steps_for(pair, pair.scale, pair.zero_point))
        for pair in activation_pairs(mod)
    }
    weights = {pair.dequantize: constant(pair.restored.astype(np.float32)) for pair in weight_pairs(mod)}
    return relax.transform.DeadCodeElimination()(rebuild(mod, _rewrite(mod, scalars, weights)))


def _constants(steps: Steps) -> list[relax.Expr]:
    return [constant(np.array(getattr(steps, which), np.float32)) for which in FIELDS]


def _rewrite(
    mod: IRModule, scalars: Mapping[relax.Var, Sequence[relax.Expr]], weights: Mapping[relax.Var, relax.Expr]
) -> Rewrite:
    """Return what replaces pairs: activations by their scalars, weights by what is said, others by their values."""
    skipped = members(mod)

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if var in weights:
            return weights[var]
        if var in scalars:
            return stepped(builder, value.args[0], scalars[var])
        return value.args[0] if var in skipped else value

    return rewrite
