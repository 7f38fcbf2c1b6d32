"""Activations quantized with parameters that are inputs of the function: one compiled module for any of them.

    dequantize(quantize(x))   -->   clip(round(x / step), low, high) * step        step, low, high: scalar parameters

with ``low`` and ``high`` as multiples of the step. What looks for good parameters by running the model with many of
them compiles it once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from tvm import IRModule, relax

from .pairs import activation_pairs
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
    found = {}
    for pair in activation_pairs(mod):
        first, last = activation_limits(pair.dtype, pair.bits)
        found[pair.name] = Steps(pair.scale, first - pair.zero_point, last - pair.zero_point)
    return found


def parameter(pair_name: str, which: str) -> str:
    """Return the name of the function's parameter for a field of ``Steps``."""
    return f"{which}:{pair_name}"


def scalars_for(pair_name: str) -> list[relax.Var]:
    """Return new parameters of a function, float32 scalars, for the fields of ``Steps`` in their order."""
    return [relax.Var(parameter(pair_name, which), relax.TensorType((), "float32")) for which in FIELDS]


def arguments(steps: Mapping[str, Steps]) -> dict[str, np.float32]:
    """Return the values of those parameters by their names."""
    return {
        parameter(name, which): np.float32(getattr(activation, which))
        for name, activation in steps.items()
        for which in FIELDS
    }


def stepped(builder: relax.BlockBuilder, value: relax.Expr, scalars: list[relax.Var]) -> relax.Call:
    """Return the value in steps; ``scalars`` are those of ``scalars_for``."""
    step, low, high = scalars
    count = builder.emit(relax.op.round(builder.emit(relax.op.divide(value, step))))
    clipped = builder.emit(relax.op.minimum(builder.emit(relax.op.maximum(count, low)), high))
    return relax.op.multiply(clipped, step)
