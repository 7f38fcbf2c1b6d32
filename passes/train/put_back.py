"""What has been learned goes back into the hub: integers, scales, steps, biases, constants, codes.

parameters by their keys  -->  the pairs' parameters, and new constants
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tvm import IRModule, relax

from ..hub.graph import bindings_of, constant, op_name, rebuild
from ..hub.pairs import (
    ActivationParameters,
    WeightParameters,
    activation_pairs,
    edit,
    weight_pairs,
)
from ..hub.parameters import activation_limits, along
from ..improve.bias_correction import shift_results
from ..improve.learned import starting_places
from .binary import BinaryLayers
from .norms import folded
from .parameter import BIASES, CONSTANTS, OFFSETS, PLACES, STEPS, WEIGHT_SCALES
from .stored import put_into_stored, stored_weights
from .student import AFFINE, bias_names
from .weight_forms import STRAIGHT_FORM, WeightForm

SMALLEST = np.float32(1e-20)
"""Size that bits stand for, at least."""


def put_into(mod: IRModule, values: Mapping[str, np.ndarray], form: WeightForm = STRAIGHT_FORM) -> IRModule:
    """Return the hub with learned parameters, by their keys; ``form`` is the student's.

    Weights get their integers, activations their steps, and what is added to biases and constants is in them.
    """
    places = {binding.var: place for place, binding in enumerate(bindings_of(mod))}
    scales, centres = folded(mod, values)
    values = {
        **values,
        **{f"{WEIGHT_SCALES}:{name}": np.maximum(array, SMALLEST) for name, array in scales.items()},
        **{f"{BIASES}:{name}:0": array for name, array in centres.items()},
    }
    names = bias_names([*weight_pairs(mod), *stored_weights(mod).values()])
    shifts = {
        places[reader]: values[f"{BIASES}:{name}"]
        for reader, name in names.items()
        if f"{BIASES}:{name}" in values
    }
    bits = BinaryLayers.of(mod)

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if not isinstance(value, relax.Call):
            return value
        value = _with_bits(value, bits, var, values)
        args = list(value.args)
        for index in AFFINE.get(op_name(value), ()):
            learned = values.get(f"{CONSTANTS}:{places[var]}:{index}")
            if learned is not None:
                args[index] = constant(learned.astype(np.float32))
        return relax.Call(value.op, args, value.attrs, value.ty_args, span=value.span)

    mod = rebuild(mod, rewrite)  # binding by binding, so each stays in its place
    now = [binding.var for binding in bindings_of(mod)]
    mod = shift_results(mod, {now[place]: shift for place, shift in shifts.items()})
    mod = put_into_stored(mod, values)
    return edit(mod, _learned_steps(mod, values), _learned_weights(mod, values, form))


def _with_bits(
    call: relax.Call, bits: BinaryLayers, var: relax.Var, values: Mapping[str, np.ndarray]
) -> relax.Call:
    """Return a call with what a layer of one bit has learned."""

    def learned(kind: str, name: str, otherwise: np.ndarray) -> np.ndarray:
        return np.asarray(values.get(f"{kind}:{name}", otherwise), np.float32)

    args = list(call.args)
    decided = {step.reached: step for step in bits.steps.values()}
    if var in bits.weights:
        own = bits.weights[var]
        places = learned(PLACES, own.name, own.signs)
        scales = np.maximum(learned(WEIGHT_SCALES, own.name, own.scales), SMALLEST)
        args[1] = constant(
            np.where(places > 0, 1, -1).astype(np.float32) * along(scales, own.axis, places.ndim)
        )
    elif var in bits.steps:
        step = bits.steps[var]
        high = np.maximum(learned(STEPS, f"{step.name}:high", np.array(step.high)), SMALLEST)
        args[1:] = constant(high), constant(np.float32(0.0 if step.low == 0.0 else -1.0) * high)
    elif var in decided:
        step = decided[var]
        args[1] = constant(learned(STEPS, f"{step.name}:threshold", np.array(step.threshold)))
    return relax.Call(call.op, args, call.attrs, call.ty_args, span=call.span)


def _learned_steps(mod: IRModule, values: Mapping[str, np.ndarray]) -> dict[str, ActivationParameters]:
    found = {}
    for pair in activation_pairs(mod):
        scale = values.get(f"{STEPS}:{pair.name}", np.array(pair.scale))
        offset = values.get(f"{OFFSETS}:{pair.name}", np.array(pair.zero_point))
        limits = activation_limits(pair.dtype, pair.bits)
        new = ActivationParameters(float(scale), int(np.clip(np.rint(offset), *limits)))
        if new != ActivationParameters(pair.scale, pair.zero_point):
            found[pair.name] = new
    return found


def _learned_weights(
    mod: IRModule, values: Mapping[str, np.ndarray], form: WeightForm
) -> dict[str, WeightParameters]:
    found = {}
    for pair in weight_pairs(mod):
        scales, places = values.get(f"{WEIGHT_SCALES}:{pair.name}"), form.learned(pair, values)
        if scales is None and places is None:
            continue
        integers = np.clip(np.rint(starting_places(pair) if places is None else places), *pair.limits)
        found[pair.name] = WeightParameters(
            pair.scales if scales is None else scales.astype(np.float32), integers.astype(np.int8)
        )
    return found
