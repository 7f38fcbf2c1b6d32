"""Layers of one bit that learn, as ``Binarize`` writes them.

    activations   where(x >= t, h, l)     -->   s clip(round((x - t) / s + 1/2), 0, 1) + l,    s = h - l;  t, h learned
    weights       a sign(w)               -->   a (2 round(clip(w, -1, 1) / 2 + 1/2) - 1)      w, a learned

Gradients pass a sign where its argument is no larger than what the sign stands for: of weights as they are, since
rounding passes them on and clips stop them; of activations so too (Rastegari et al., "XNOR-Net", 2016) or the more the
nearer the threshold is (``kernels.steps``). ``w`` is in units of its channel's ``a``. It begins as the float
weights where these are known: signs alone are all as far from changing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from tvm import IRModule, relax

from ..hub.graph import bindings_of, is_constant, layer_name, number, op_name, to_numpy
from ..hub.operators import WEIGHT_AXIS
from ..hub.parameters import along
from ..hub.steps import stepped
from ..hub.two_valued import binary_layers, signs_of

WITHIN = 0.999
"""Of weights in units of their sizes, where they still move."""


@dataclass(frozen=True)
class BinaryStep:
    """An activation of two values.

    Attributes
    ----------
    place : of its binding.
    reached : the comparison that decides.
    threshold, low, high : as in ``where(x >= threshold, high, low)``; ``low`` is 0 or ``-high``.
    """

    place: int
    reached: relax.Var
    threshold: float
    low: float
    high: float

    @property
    def name(self) -> str:
        return f"{self.place}"


@dataclass(frozen=True)
class BinaryWeights:
    """Weights of two values a channel.

    Attributes
    ----------
    place : of the operator's binding.
    layer : its name.
    signs, scales : float32, of -1 and 1, and ``[O]``.
    axis : of the output channels.
    """

    place: int
    layer: str
    signs: np.ndarray
    scales: np.ndarray
    axis: int

    @property
    def name(self) -> str:
        return f"{self.place}"

    def starting(self, originals: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the weights in units of their sizes: signs, or the float weights that they were."""
        found = originals.get(self.layer)
        if found is None or found.shape != self.signs.shape:
            return 0.5 * self.signs
        scaled = found / along(self.scales, self.axis, found.ndim)
        # On the side of its sign, whatever has become of the scale since.
        return np.where(np.sign(scaled) == self.signs, np.clip(scaled, -WITHIN, WITHIN), 0.01 * self.signs)


@dataclass(frozen=True)
class BinaryLayers:
    """Those of a module, by the variables that are bound to them."""

    steps: dict[relax.Var, BinaryStep]
    weights: dict[relax.Var, BinaryWeights]

    @classmethod
    def of(cls, mod: IRModule) -> BinaryLayers:
        """Return the layers whose activations and weights have two values, written as ``Binarize`` does."""
        bindings = bindings_of(mod)
        values = {binding.var: binding.value for binding in bindings}
        places = {binding.var: place for place, binding in enumerate(bindings)}
        steps: dict[relax.Var, BinaryStep] = {}
        weights = {}
        for var in binary_layers(mod):
            call = values[var]
            step = _step(call.args[0], values, places)
            found = signs_of(to_numpy(call.args[1]), WEIGHT_AXIS[op_name(call)])
            if step is None or found is None:
                continue
            steps[call.args[0]] = step
            signs, scales = found.values.astype(np.float32), found.scale.astype(np.float32)
            weights[var] = BinaryWeights(
                places[var], layer_name(call), signs, scales, WEIGHT_AXIS[op_name(call)]
            )
        return cls(steps, weights)


def _step(
    var: relax.Expr, values: Mapping[relax.Var, relax.Expr], places: Mapping[relax.Var, int]
) -> BinaryStep | None:
    """Return a two-valued activation; None where it is not written as a comparison and a choice."""
    choice = values.get(var)
    if op_name(choice) != "relax.where" or not all(map(is_constant, choice.args[1:])):
        return None
    comparison = values.get(choice.args[0])
    if op_name(comparison) != "relax.greater_equal" or not is_constant(comparison.args[1]):
        return None
    numbers = [to_numpy(operand) for operand in (comparison.args[1], *choice.args[1:])]
    if any(number.size != 1 for number in numbers):
        return None
    threshold, high, low = (float(number.item()) for number in numbers)
    if not (high > 0.0 and low in (0.0, -high)):
        return None
    return BinaryStep(places[var], choice.args[0], threshold, low, high)


def activation(
    builder: relax.BlockBuilder, step: BinaryStep, data: relax.Expr, threshold: relax.Expr, high: relax.Expr
) -> relax.Expr:
    """Return the activation of float ``data``; the numbers are float32 of shape ``()``."""
    is_sign = step.low != 0.0
    size = builder.emit(relax.op.multiply(high, number(2.0))) if is_sign else high
    start = builder.emit(relax.op.subtract(threshold, builder.emit(relax.op.multiply(size, number(0.5)))))
    moved = builder.emit(relax.op.subtract(data, start))
    bit = stepped(builder, moved, [size, number(0.0), number(1.0)])
    return relax.op.subtract(builder.emit(bit), high) if is_sign else bit


def weight(
    builder: relax.BlockBuilder, weights: BinaryWeights, places: relax.Expr, scales: relax.Expr
) -> relax.Expr:
    """Return the weights of float ``places``, of the weights' shape, and ``scales [O]``."""
    limited = builder.emit(relax.op.clip(places, -WITHIN, WITHIN))
    half = builder.emit(relax.op.add(builder.emit(relax.op.multiply(limited, number(0.5))), number(0.5)))
    bit = builder.emit(relax.op.round(half))
    signs = builder.emit(relax.op.subtract(builder.emit(relax.op.multiply(bit, number(2.0))), number(1.0)))
    shape = along(weights.scales, weights.axis, weights.signs.ndim).shape
    return relax.op.multiply(signs, builder.emit(relax.op.reshape(scales, shape)))


def float_weights(mod: IRModule) -> dict[str, np.ndarray]:
    """Return the constant weights of a float module's weighted operators, by their layers' names."""
    return {
        layer_name(binding.value): to_numpy(binding.value.args[1])
        for binding in bindings_of(mod)
        if op_name(binding.value) in WEIGHT_AXIS and is_constant(binding.value.args[1])
    }
