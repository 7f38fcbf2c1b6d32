"""A float module --> the Q/DQ hub with unknown parameters (``docs/architecture.md`` has the contract).

    conv2d(x, w) -> add(b) -> relu
    -->
    conv2d(dq(q(x)), dq(q(w))) -> add(b) -> relu -> dq(q(.))

A dynamic product reads a row pair (``passes.hub.row_pairs``), one for all that read a value. Every other scale is NaN
and every zero point 0; ``Calibrate`` replaces them. ``passes.annotate.plan`` decides where pairs go,
``passes.hub.operators`` has the table that it decides from.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import IRModule, relax

from ...targets.row import TargetRow
from ..hub.annotation import SCHEME_ATTRIBUTE
from ..hub.bits import Bits, with_bits
from ..hub.conditions import PAIRS, UNQUANTIZED_MODEL
from ..hub.contract import module_pass
from ..hub.graph import (
    activations,
    bindings_of,
    constant,
    layer_name,
    op_name,
    rebuild,
    shape_of,
    substitute,
    to_numpy,
    with_layer_name,
)
from ..hub.layers import Layer, get_layers, with_layers
from ..hub.operators import MOVE, OPERATORS, WEIGHT_AXIS, WEIGHTED
from ..hub.product_choices import CHOSEN, ProductChoice, product_choices
from ..hub.recurrences import RECURRENT_WEIGHTS, WEIGHTS, operands_of, with_operands
from ..hub.row_pairs import emit_row_pair
from ..hub.schemes import Scheme
from .bit_plan import Decision, decide_bits, with_kernels
from .mixed_bits import CANDIDATES, mixed_bits
from .options import QuantizeOptions
from .plan import ON_BITS, Means, Plan, make_plan
from .restrict import check_bits, restrict
from .scale_to_depthwise import ScaleToDepthwise
from .selection import matches, select


def resolve(scheme: Scheme, row: TargetRow | None, options: QuantizeOptions) -> Scheme:
    """Return the scheme with what the target stores, and what the user asked for and the hardware has."""
    changes: dict[str, Any] = {}
    if row is not None:
        changes["activation_dtype"] = row.activation_dtype
        if options.pair_safe_weights and row.sought_sums is not None:
            changes["lane_sums"] = row.sought_sums
    return restrict(dataclasses.replace(scheme, **changes), options)


@module_pass(requires=UNQUANTIZED_MODEL, ensures=(PAIRS,))
@dataclass(frozen=True)
class Annotate:
    """Decide what is quantized and put the pairs there.

    Attributes
    ----------
    scheme : how tensors are quantized.
    row : the target's row; None for none in particular.
    options : the user's choices. A name in them that matches no layer raises ``TvmqError``.
    has_samples : ``Calibrate`` will find scales; else a dynamic scheme leaves in float what needs them.
    """

    scheme: Scheme
    row: TargetRow | None = None
    options: QuantizeOptions = QuantizeOptions()
    has_samples: bool = True

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with pairs, and in its layer records what was decided."""
        layers = get_layers(mod)
        selection = select(layers, self.options)
        scheme = resolve(self.scheme, self.row, self.options)
        mod = ScaleToDepthwise()(mod)
        means = Means(
            scheme.dynamic,
            self.has_samples,
            self.row is None or self.row.has_integer_products,
            self.row is None or self.row.gpu is None,
            product_choices(mod),
        )
        plan = make_plan(mod, selection, self.options, means)
        records = _decided(layers, mod, plan, scheme.name, means.choices)
        decision = decide_bits(mod, plan, scheme, self.options.bits)
        bits = decision.bits
        if self.options.has_mixed_bits:
            bits = self._mixed(mod, plan, bits, scheme)
        if self.options.hardware is not None:
            check_bits(bits, self.options.hardware)
        elif self.row is not None:
            bits = with_kernels(bits, self.row, self.options.allow_wider)
        mod = _insert_pairs(mod, plan, scheme, decision)
        mod = with_bits(mod, bits)
        mod = mod.with_attr(SCHEME_ATTRIBUTE, json.dumps(dataclasses.asdict(scheme)))
        return with_layers(mod, records)

    def _mixed(self, mod: IRModule, plan: Plan, bits: Bits, scheme: Scheme) -> Bits:
        """Return the bits with mixed ones for the weights of each layer of which the user said nothing."""
        found: dict[str, tuple[np.ndarray, int]] = {}
        for binding in bindings_of(mod):
            name = layer_name(binding.value)
            said = any(matches(pattern, name) for pattern in self.options.bits)
            if plan.roles.get(binding.var) == WEIGHTED and not said:
                axis = WEIGHT_AXIS[op_name(binding.value)]
                found.setdefault(name, (to_numpy(binding.value.args[1]), axis))
        hardware = self.options.hardware
        of_target = CANDIDATES if self.row is None else self.row.weight_bits
        candidates = of_target if hardware is None else hardware.weight_bits
        return mixed_bits(bits, found, self.options.mixed_start_scale, scheme.per_channel, candidates)


@dataclass(frozen=True)
class _Pair:
    """What a pair needs to know: ``shape`` parameters along ``axis``, the stored dtype, the layer's name."""

    shape: tuple[int, ...]
    axis: int
    dtype: str
    name: str

    def emit(self, builder: relax.BlockBuilder, data: relax.Expr) -> relax.Var:
        """Bind ``dequantize(quantize(data))`` with scales NaN and zero points 0."""
        scale = constant(np.full(self.shape, np.nan, "float32"))
        zero = constant(np.zeros(self.shape, self.dtype))
        quantize = relax.op.quantize(data, scale, zero, self.axis, self.dtype)
        quantized = builder.emit(with_layer_name(quantize, self.name))
        dequantize = relax.op.dequantize(quantized, scale, zero, self.axis)
        return builder.emit(with_layer_name(dequantize, self.name))


def _insert_pairs(mod: IRModule, plan: Plan, scheme: Scheme, decision: Decision) -> IRModule:
    names = {binding.var: layer_name(binding.value) for binding in bindings_of(mod)}
    data_of = {
        binding.var: binding.value.args[0] for binding in bindings_of(mod) if binding.var in plan.dynamic
    }

    def giver(var: relax.Var) -> str:
        return names.get(plan.anchors.get(var, var), "")

    def activation_pair(var: relax.Var) -> _Pair:
        return _Pair((), -1, scheme.activation_dtype, giver(var))

    # Of values that are float anyway, only what runs on integers reads the pair; the first such makes it.
    waiting = {param: activation_pair(param) for param in mod["main"].params if param in plan.pairs}
    made: dict[relax.Var, relax.Expr] = {}
    second: dict[relax.Expr, relax.Expr] = {}
    of_rows: dict[relax.Expr, relax.Var] = {}
    weights = _WeightPairs(scheme)

    def narrowed(builder: relax.BlockBuilder, var: relax.Var, call: relax.Call) -> relax.Call:
        data, weight = call.args
        if data not in second:
            second[data] = activation_pair(decision.narrowed[var]).emit(builder, data)
        return relax.Call(call.op, [second[data], weight], call.attrs, call.ty_args, span=call.span)

    def with_row_pair(builder: relax.BlockBuilder, var: relax.Var, call: relax.Call) -> relax.Call:
        data, weight = call.args
        if data not in of_rows:
            of_rows[data] = emit_row_pair(
                builder, data, symmetric=scheme.symmetric_activations, name=giver(data_of[var])
            )
        return relax.Call(call.op, [of_rows[data], weight], call.attrs, call.ty_args, span=call.span)

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        role = plan.roles.get(var)
        if role is not None:
            for source in activations(value):
                if source in waiting:
                    made[source] = waiting.pop(source).emit(builder, source)
            value = substitute(value, made)
        if var in decision.narrowed:
            value = narrowed(builder, var, value)
        if var in plan.dynamic:
            value = with_row_pair(builder, var, value)
        if role == WEIGHTED:
            value = weights.apply(builder, value)
        if var in plan.recurrent:
            value = weights.apply_recurrent(builder, value)
        if var not in plan.pairs:
            return value
        bound = builder.emit(value)
        if role is not None:
            return activation_pair(var).emit(builder, bound)
        waiting[bound] = activation_pair(var)
        return bound

    return rebuild(mod, rewrite)


class _WeightPairs:
    """Makes the pairs of weights: one for each constant, however many operators read it."""

    def __init__(self, scheme: Scheme):
        self._per_channel = scheme.per_channel
        self._made: list[tuple[relax.Expr, int, relax.Var]] = []

    def apply(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Call:
        """Return the weighted operator with its weights behind a pair."""
        pair = self._pair(builder, call.args[1], WEIGHT_AXIS[op_name(call)], layer_name(call))
        return relax.Call(call.op, [call.args[0], pair], call.attrs, call.ty_args, span=call.span)

    def apply_recurrent(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Call:
        """Return the call of a recurrent layer with its recurrent weights behind a pair."""
        operands = operands_of(call)
        operands[WEIGHTS] = self._pair(builder, operands[WEIGHTS], 1, layer_name(call))
        return with_operands(call, operands)

    def _pair(self, builder: relax.BlockBuilder, weight: relax.Constant, axis: int, name: str) -> relax.Var:
        pair = next((pair for data, at, pair in self._made if data.same_as(weight) and at == axis), None)
        if pair is None:
            count = shape_of(weight)[axis] if self._per_channel else 1
            pair = _Pair((count,), axis, "int8", name).emit(builder, weight)
            self._made.append((weight, axis, pair))
        return pair


def _decided(
    layers: list[Layer], mod: IRModule, plan: Plan, scheme: str, choices: Mapping[str, ProductChoice]
) -> list[Layer]:
    """Return the records: a layer is quantized where its last operator is that computes, or else moves, values."""
    names = {binding.var: layer_name(binding.value) for binding in bindings_of(mod)}
    verdicts: dict[str, relax.Var] = {}
    for binding in bindings_of(mod):
        if binding.var not in plan.roles and binding.var not in plan.reasons:
            continue
        row = OPERATORS.get(op_name(binding.value))
        if row is None or row.kind != MOVE or names[binding.var] not in verdicts:
            verdicts[names[binding.var]] = binding.var
    on_bits = {names[var] for var, reason in plan.reasons.items() if reason == ON_BITS}
    hosts = {addition: weighted for weighted, addition in plan.absorbed.items()}
    recurrent = {names[var]: f"float: {reason}" for var, reason in plan.recurrent_reasons.items()}
    records = []
    for layer in layers:
        var = verdicts.get(layer.name)
        if layer.name in on_bits:
            records.append(dataclasses.replace(layer, status="binary", reason=ON_BITS))
        elif var is None:
            records.append(layer)
        elif var in plan.reasons:
            records.append(dataclasses.replace(layer, status="float", reason=plan.reasons[var]))
        else:
            kernel = names[hosts.get(var, plan.anchors.get(var, var))]
            details = {"fused_into": kernel} if kernel != layer.name else {}
            if layer.name in choices:
                details[CHOSEN] = f"{choices[layer.name].way}, since {choices[layer.name].reason}"
            records.append(dataclasses.replace(layer, status=scheme, reason="", details=details))
    return [
        dataclasses.replace(layer, details={**layer.details, RECURRENT_WEIGHTS: recurrent[layer.name]})
        if layer.name in recurrent
        else layer
        for layer in records
    ]
