"""The same float model with the weights of one quantized model or another: what the search compares.

    conv2d(dq(q(x)), dq(q(w))) -> add(b)   -->   conv2d(steps(x), w') -> add(b')

``w'`` are the weights as they were, or what their integers stand for, and ``b'`` the bias that goes with them.
``steps(x) = clip(round(x / step), low, high) * step`` is the activation's pair with its parameters as inputs of the
function. The operators of a trial do not depend on what was quantized how: two trials of one model differ in constants
alone, so one compiled module serves all of them (``search.simulator``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import IRModule, relax

from ..passes.affine import CHANNEL_AXIS, bias_constant
from ..passes.bias_correction import biases_of
from ..passes.graph import bindings_of, constant, op_name, rebuild, shape_of, with_layer_name
from ..passes.pairs import activation_pairs, transparent, weight_pairs
from ..passes.parameters import activation_limits

TAG = "tvmq.unit:"
"""What the layer name of a call begins with whose constants differ between trials; the unit's name follows."""

FINE = 2.0**-12
"""Of a step of its own an activation has this, at the most, where it is to be as good as float."""


@dataclass(frozen=True)
class Steps:
    """Parameters of an activation in a trial: its step and the limits of the multiples of it, all float32."""

    step: float
    low: float
    high: float

    @property
    def fine(self) -> Steps:
        """The same activation without limits and in steps of about 2^-20 of its range: float, for a comparison."""
        largest = float(np.finfo(np.float32).max)
        return Steps(float(2.0 ** np.floor(np.log2(self.step * FINE))), -largest, largest)


def unit_of(name: str) -> str:
    """Return the layer, as options name it, whose weights the pair of this name holds; ``name:2`` is the same's."""
    layer, colon, count = name.rpartition(":")
    return layer if colon and count.isdigit() else name


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


def trial(mod: IRModule, quantized: bool) -> IRModule:
    """Return the trial of a module with pairs, all of them known.

    Parameters
    ----------
    quantized : take what the integers of the weights stand for; else the float weights.

    Returns
    -------
    A module whose ``main`` takes the model's inputs and a scalar for each parameter of each activation, and returns a
    tuple. Each weighted operator has a bias, if of zeros; its name and its bias's are ``TAG`` and the unit.
    """
    weights = {pair.dequantize: pair for pair in weight_pairs(mod)}
    activations = {pair.dequantize: pair for pair in activation_pairs(mod)}
    readers = {reader: pair for pair in weights.values() for reader in pair.readers}
    biases = {var: bias for var, bias in biases_of(mod).items() if bias.weighted in readers}
    biased = {bias.weighted for bias in biases.values()}
    skipped = transparent(mod)
    scalars = {
        pair.name: [_scalar(parameter(pair.name, which)) for which in ("step", "low", "high")]
        for pair in activations.values()
    }

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if var in weights:
            pair = weights[var]
            return constant((pair.restored if quantized else pair.values).astype(np.float32))
        if var in activations:
            return _stepped(builder, value.args[0], scalars[activations[var].name])
        if var in skipped:
            return value.args[0]
        if var in readers:
            tag = TAG + unit_of(readers[var].name)
            result = with_layer_name(value, tag)
            return result if var in biased else _biased(builder.emit(result), bindings[var], 0.0, tag)
        if var in biases:
            bias = biases[var]
            result = value.args[0] if isinstance(value.args[0], relax.Var) else value.args[1]
            source = bindings[bias.weighted]
            return _biased(result, source, bias.values, TAG + unit_of(readers[bias.weighted].name))
        return value

    bindings = {binding.var: binding.value for binding in bindings_of(mod)}
    result = mod["main"].body.body
    outputs = list(result.fields) if isinstance(result, relax.Tuple) else [result]
    params = [*mod["main"].params, *(scalar for group in scalars.values() for scalar in group)]
    return relax.transform.DeadCodeElimination()(
        rebuild(mod, rewrite, params=params, result=relax.Tuple(outputs))
    )


def _scalar(name: str) -> relax.Var:
    return relax.Var(name, relax.TensorType((), "float32"))


def _stepped(builder: relax.BlockBuilder, value: relax.Expr, scalars: list[relax.Var]) -> relax.Call:
    step, low, high = scalars
    count = builder.emit(relax.op.round(builder.emit(relax.op.divide(value, step))))
    clipped = builder.emit(relax.op.minimum(builder.emit(relax.op.maximum(count, low)), high))
    return relax.op.multiply(clipped, step)


def _biased(result: relax.Expr, weighted: relax.Call, bias: np.ndarray | float, tag: str) -> relax.Call:
    """Return the weighted operator's result with a bias, one value a channel."""
    shape, axis = shape_of(weighted), CHANNEL_AXIS[op_name(weighted)]
    values = np.broadcast_to(np.asarray(bias, np.float64), (shape[axis],))
    return with_layer_name(relax.op.add(result, bias_constant(values, len(shape), axis)), tag)

