"""The same float model with the weights of one quantized model or another: what the search compares.

    conv2d(dq(q(x)), dq(q(w))) -> add(b)   -->   conv2d(steps(x), w') -> add(b')

``w'`` are the weights as they were, or what their integers stand for, and ``b'`` the bias that goes with them.
``steps(x) = clip(round(x / step), low, high) * step`` is the activation's pair with its parameters as inputs of the
function. The operators of a trial do not depend on what was quantized how: two trials of one model differ in constants
alone, so one compiled module serves all of them (``search.simulator``).
"""

from __future__ import annotations

import numpy as np
from tvm import IRModule, relax

from ..passes.hub.graph import bindings_of, constant, op_name, rebuild, results_of, shape_of, with_layer_name
from ..passes.hub.pairs import activation_pairs, transparent, weight_pairs
from ..passes.hub.steps import scalars_for, stepped
from ..passes.improve.bias_correction import biases_of
from ..passes.prepare.affine import CHANNEL_AXIS, bias_constant

TAG = "tvmq.unit:"
"""What the layer name of a call begins with whose constants differ between trials; the unit's name follows."""


def unit_of(name: str) -> str:
    """Return the layer, as options name it, whose weights the pair of this name holds; ``name:2`` is the same's."""
    layer, colon, count = name.rpartition(":")
    return layer if colon and count.isdigit() else name


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
    scalars = {pair.name: scalars_for(pair.name) for pair in activations.values()}

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if var in weights:
            pair = weights[var]
            return constant((pair.restored if quantized else pair.values).astype(np.float32))
        if var in activations:
            return stepped(builder, value.args[0], scalars[activations[var].name])
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
    params = [*mod["main"].params, *(scalar for group in scalars.values() for scalar in group)]
    return relax.transform.DeadCodeElimination()(
        rebuild(mod, rewrite, params=params, result=relax.Tuple(results_of(mod)))
    )


def _biased(result: relax.Expr, weighted: relax.Call, bias: np.ndarray | float, tag: str) -> relax.Call:
    """Return the weighted operator's result with a bias, one value a channel."""
    shape, axis = shape_of(weighted), CHANNEL_AXIS[op_name(weighted)]
    values = np.broadcast_to(np.asarray(bias, np.float64), (shape[axis],))
    return with_layer_name(relax.op.add(result, bias_constant(values, len(shape), axis)), tag)
