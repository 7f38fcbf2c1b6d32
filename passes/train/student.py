"""The quantized network with parameters that move: the hub as a float function of its inputs and of them.

    weights       dequantize(quantize(w))   -->   s clip(round(z), -L, L)         z, s: parameters
    activations   dequantize(quantize(x))   -->   s clip(round(x / s), l, h)      s
    biases        W x                       -->   W x + b                         b: what is added to the bias
    constants     x + c, x c, norm(x, c)    -->   the same of a parameter
    one bit       as ``binary`` has it
    compressed    as ``stored`` has it

A float ``z`` in units of steps stands for each integer and moves until it is nearer to another one; scale and integers
then have gradients of their own (Cheng et al., "Optimize weight rounding via signed gradient descent", 2024). Rounding
passes gradients on (``rules``), so those of all parameters follow from these formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import IRModule, relax

from ..hub.graph import (
    bindings_of,
    constant,
    dtype_of,
    is_constant,
    number,
    op_name,
    rebuild,
    results_of,
    shape_of,
    to_numpy,
    with_layer_name_of,
)
from ..hub.pairs import (
    ActivationPair,
    WeightPair,
    activation_pairs,
    members,
    weight_pairs,
)
from ..hub.parameters import MAX_BITS, activation_limits, along
from ..hub.steps import stepped
from ..improve.bias_correction import biases_of
from ..improve.learned import share_of_few
from ..prepare.affine import CHANNEL_AXIS
from . import binary
from .binary import BinaryLayers
from .norms import Norm
from .parameter import BIASES, CONSTANTS, OFFSETS, PLACES, STEPS, WEIGHT_SCALES, Parameter
from .stored import StoredWeights, stored_weights
from .weight_forms import STRAIGHT_FORM, WITHIN, ValueOf, WeightForm, rounded

FINER, OWN_STATISTICS = "finer", "own_statistics"

AFFINE = {
    "relax.add": (0, 1),
    "relax.subtract": (0, 1),
    "relax.multiply": (0, 1),
    "relax.divide": (1,),
    "relax.nn.layer_norm": (1, 2),
    "relax.nn.rms_norm": (1,),
    "relax.nn.conv2d": (1,),
    "relax.matmul": (1,),
}
"""Operands that are learned where they are float constants of several numbers."""


def but_offsets(parameter: Parameter) -> bool:
    """Tell whether a parameter is learned where nothing is said: all but zero points."""
    return parameter.kind != OFFSETS


@dataclass(frozen=True)
class Student:
    """The function, and what its parameters are.

    Attributes
    ----------
    mod : of ``main(inputs, parameters, FINER)``, which gives the hub's results and then what was watched, a tuple.
        Steps of fewer than 8 bits are divided by ``FINER``, float32: with 4 they are 2 bits more, with many float.
        With norms there is ``OWN_STATISTICS`` behind it (``norms``), and the batch's statistics are the last results.
    parameters : in the order of the function's.
    statistics : keys of averages, in the order of these results.
    """

    mod: IRModule
    parameters: list[Parameter]
    statistics: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        mod: IRModule,
        *,
        watched: Sequence[relax.Var] = (),
        learns: Callable[[Parameter], bool] = but_offsets,
        originals: Mapping[str, np.ndarray] | None = None,
        samples: float = math.inf,
        form: WeightForm = STRAIGHT_FORM,
        norms: Mapping[str, Norm] | None = None,
    ) -> Student:
        """Return the function of a calibrated hub.

        Parameters
        ----------
        watched : variables of the hub that are given behind its results.
        learns : which parameters there are; the others stay constants.
        form : how the places of weights come from what is learned.
        samples : that are learned from, for each that the hub takes at a time: see ``share_of_few``.
        originals : float weights by the names of layers, for those of which the hub has signs alone.
        norms : of convolutions, by the names of their weights' pairs.
        """
        bits, stored = BinaryLayers.of(mod), stored_weights(mod)
        originals, norms = originals or {}, norms or {}
        weights = {pair.dequantize: pair for pair in weight_pairs(mod)}
        steps = {pair.dequantize: pair for pair in activation_pairs(mod)}
        skipped = members(mod)
        normed = {
            reader: norms[pair.name]
            for pair in weights.values()
            for reader in pair.readers
            if pair.name in norms
        }
        found = [
            parameter
            for parameter in _parameters(mod, bits, stored, normed, originals, samples, form)
            if learns(parameter)
        ]
        found += [parameter for norm in norms.values() for parameter in norm.parameters()]
        env = {
            each.key: relax.Var(each.key, relax.TensorType(each.values.shape, "float32")) for each in found
        }
        finer, own_statistics = (
            relax.Var(name, relax.TensorType((), "float32")) for name in (FINER, OWN_STATISTICS)
        )
        statistics: dict[str, relax.Expr] = {}
        places = {binding.var: place for place, binding in enumerate(bindings_of(mod))}
        biased = bias_names([*weights.values(), *stored.values()])

        def value_of(kind: str, name: str, otherwise: np.ndarray) -> relax.Expr:
            key = f"{kind}:{name}"
            return env[key] if key in env else constant(np.asarray(otherwise, np.float32))

        def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            if var in weights:
                return _weights(builder, weights[var], form, value_of, finer)
            if var in stored:
                return stored[var].value(builder, value_of, finer, originals)
            if var in steps:
                return _step(builder, steps[var], value.args[0], value_of, finer)
            if var in skipped:
                return value.args[0]
            if not isinstance(value, relax.Call):
                return value
            if var in bits.steps:
                step = bits.steps[var]
                source = builder.lookup_binding(value.args[0]).args[0]
                numbers = (
                    value_of(STEPS, f"{step.name}:{which}", np.array(getattr(step, which)))
                    for which in ("threshold", "high")
                )
                return binary.activation(builder, step, source, *numbers)
            if var in bits.weights:
                own = bits.weights[var]
                signs = value_of(PLACES, own.name, own.starting(originals))
                new = binary.weight(builder, own, signs, value_of(WEIGHT_SCALES, own.name, own.scales))
                call = relax.Call(value.op, [value.args[0], builder.emit(new)], value.attrs, value.ty_args)
                return with_layer_name_of(call, value)
            if var not in biased:
                return _with_constants(value, places[var], value_of)
            if var in normed:
                value, batch = normed[var].normalized(builder, builder.emit(value), value_of, own_statistics)
                statistics.update(batch)
                return value
            key = f"{BIASES}:{biased[var]}"
            if key not in env:
                return value
            rank, axis = len(shape_of(var)), CHANNEL_AXIS[op_name(value)] % len(shape_of(var))
            shape = tuple(-1 if place == axis else 1 for place in range(rank))
            result = builder.emit(value)
            return relax.op.add(result, builder.emit(relax.op.reshape(env[key], shape)))

        params = [*mod["main"].params, *env.values(), finer, *([own_statistics] if norms else [])]
        result = relax.Tuple([*results_of(mod), *watched])
        built = rebuild(mod, rewrite, params=params, result=result, more=statistics.values())
        return cls(relax.transform.DeadCodeElimination()(built), found, tuple(statistics))


def _parameters(
    mod: IRModule,
    bits: BinaryLayers,
    stored: Mapping[relax.Var, StoredWeights],
    normed: Container[relax.Var],
    originals: Mapping[str, np.ndarray],
    samples: float,
    form: WeightForm,
) -> Iterator[Parameter]:
    """Give all that could be learned, but what is of norms, whose centres are the biases of results ``normed``."""
    for step in bits.steps.values():
        for which in ("threshold", "high"):
            yield Parameter(
                f"{step.name}:{which}", STEPS, np.array(getattr(step, which), np.float32), step.high
            )
    for signs in bits.weights.values():
        yield Parameter(signs.name, PLACES, signs.starting(originals).astype(np.float32), 1.0)
        yield Parameter(signs.name, WEIGHT_SCALES, signs.scales, signs.scales)
    pairs = weight_pairs(mod)
    for pair in pairs:
        if not pair.readers:
            continue
        # A step of weights of many bits is a smaller part of them.
        unit = max(1.0, pair.limits[1] / 7.0) * share_of_few(pair.values.size, pair.readers, samples)
        yield from form.parameters(pair, unit)
        yield Parameter(pair.name, WEIGHT_SCALES, pair.scales, pair.scales)
    for weights in stored.values():
        yield from weights.parameters(originals, samples)
    spreads = _spreads(mod, stored)
    for reader, name in bias_names([*pairs, *stored.values()]).items():
        if reader not in normed:
            yield Parameter(name, BIASES, np.zeros_like(spreads[reader]), spreads[reader])
    for quantized in activation_pairs(mod):
        yield Parameter(quantized.name, STEPS, np.array(quantized.scale, np.float32), quantized.scale)
        offset = np.array(quantized.zero_point, np.float32)
        yield Parameter(quantized.name, OFFSETS, offset, (2.0**quantized.bits - 1.0) / 15.0)
    biased = {var for var, bias in biases_of(mod).items() if bias.weighted in spreads}
    others = members(mod) | biased | set(bits.weights)
    for place, binding in enumerate(bindings_of(mod)):
        if binding.var in others:
            continue
        for index in AFFINE.get(op_name(binding.value), ()):
            if _is_learned(binding.value.args[index]):
                values = to_numpy(binding.value.args[index])
                size = float(np.sqrt(np.mean(np.square(values)))) or 1.0
                yield Parameter(f"{place}:{index}", CONSTANTS, values, np.float32(size))


def bias_names(weights: Sequence[WeightPair | StoredWeights]) -> dict[relax.Var, str]:
    """Return what the bias of each weighted operator is called, by the operator's result."""
    return {reader: f"{each.name}:{index}" for each in weights for index, reader in enumerate(each.readers)}


def _spreads(mod: IRModule, stored: Mapping[relax.Var, StoredWeights]) -> dict[relax.Var, np.ndarray]:
    """Return about how far the results of weighted operators spread, float32 ``[O]``, by their variables.

    It is the length of a filter times a quarter of the range of what it reads: independent values add up to that.
    """
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    ranges = {pair.dequantize: max(map(abs, pair.range)) for pair in activation_pairs(mod)}
    weights: list[tuple[WeightPair | StoredWeights, np.ndarray]]
    weights = [(pair, pair.values) for pair in weight_pairs(mod)]
    weights += [(each, each.codes.values()) for each in stored.values()]
    found = {}
    for each, numbers in weights:
        others = tuple(axis for axis in range(numbers.ndim) if axis != each.axis)
        lengths = np.sqrt(np.square(numbers).sum(axis=others))
        for reader in each.readers:
            spread = lengths * ranges.get(values[reader].args[0], 4.0) / 4.0
            found[reader] = np.maximum(spread, 1e-6).astype(np.float32)
    return found


def _is_learned(operand: relax.Expr) -> bool:
    return is_constant(operand) and dtype_of(operand) == "float32" and to_numpy(operand).size > 1


def _weights(
    builder: relax.BlockBuilder, pair: WeightPair, form: WeightForm, value_of: ValueOf, finer: relax.Expr
) -> relax.Expr:
    places = form.places(builder, pair, value_of)
    scales = value_of(WEIGHT_SCALES, pair.name, pair.scales)
    integers = rounded(builder, places, pair.limits, pair.bits, finer)
    shape = along(pair.scales, pair.axis, pair.values.ndim).shape
    return relax.op.multiply(integers, builder.emit(relax.op.reshape(scales, shape)))


def _step(
    builder: relax.BlockBuilder, pair: ActivationPair, data: relax.Expr, value_of: ValueOf, finer: relax.Expr
) -> relax.Expr:
    first, last = activation_limits(pair.dtype, pair.bits)
    offset = value_of(OFFSETS, pair.name, np.array(pair.zero_point))
    low, high = (number(limit - pair.zero_point) for limit in (first, last))
    if isinstance(offset, relax.Var):
        within = builder.emit(relax.op.clip(offset, first - WITHIN, last + WITHIN))
        whole = builder.emit(relax.op.round(within))
        low, high = (builder.emit(relax.op.subtract(number(limit), whole)) for limit in (first, last))
    scale = value_of(STEPS, pair.name, np.array(pair.scale))
    if pair.bits < MAX_BITS:
        scale = builder.emit(relax.op.divide(scale, finer))
        low, high = (builder.emit(relax.op.multiply(limit, finer)) for limit in (low, high))
    return stepped(builder, data, [scale, low, high])


def _with_constants(call: relax.Call, place: int, value_of: ValueOf) -> relax.Expr:
    """Return a call with those of its constant operands that are learned as parameters."""
    args = list(call.args)
    for index in AFFINE.get(op_name(call), ()):
        if _is_learned(args[index]):
            args[index] = value_of(CONSTANTS, f"{place}:{index}", to_numpy(args[index]))
    return relax.Call(call.op, args, call.attrs, call.ty_args, span=call.span)
