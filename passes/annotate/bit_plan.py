"""The bits of each layer: what the user says of it, or the scheme's, which may spare depthwise convolutions and spares
the first and the last layer.

    conv(dq4(q4(dq8(q8(x))))), add(dq8(q8(x)), .)        conv asks for 4 bits of x, and the addition for 8

A value has as many bits as the most that a reader of it asks for, also through operators that only move values: a
weighted layer for its activations', another for the scheme's for such. A weighted layer that asks for fewer gets a
second pair, behind the first.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm import IRModule, relax

from ...errors import TvmqError, unknown
from ...targets.row import TargetRow
from ..hub.bits import Bits, LayerBits
from ..hub.graph import activations, bindings_of, layer_name
from ..hub.operators import CONCAT, MOVE, WEIGHTED
from ..hub.parameters import MAX_BITS
from ..hub.schemes import Scheme
from ..prepare.affine import is_depthwise
from .plan import FUSED, Plan
from .selection import matches

logger = logging.getLogger(__name__)

MIN_BITS = 2


@dataclass(frozen=True)
class Decision:
    """What ``decide_bits`` has decided.

    Attributes
    ----------
    bits : of the tensors.
    narrowed : of each weighted operator that reads a second pair, by its result: the value that has it.
    """

    bits: Bits
    narrowed: Mapping[relax.Var, relax.Var]


def decide_bits(
    mod: IRModule, plan: Plan, scheme: Scheme, wanted: Mapping[str, int | tuple[int, int]]
) -> Decision:
    """Return the bits of every tensor that ``plan`` quantizes in ``mod``, which has no pairs yet.

    Parameters
    ----------
    wanted : bits of the weights, or of weights and activations, by name or pattern of the layer; the last that
        matches counts.

    Raises
    ------
    TvmqError : a name or pattern that matches no weighted layer; bits out of range.
    """
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    weighted = [var for var in values if plan.roles.get(var) == WEIGHTED]
    names = [layer_name(values[var]) for var in weighted]

    def giver(source: relax.Var) -> str:
        anchor = plan.anchors.get(source, source)
        return layer_name(values[anchor]) if anchor in values else source.name

    default = LayerBits(scheme.weight_bits, scheme.activation_bits)
    by_layer = dict.fromkeys(names, default)
    if scheme.depthwise_bits is not None:
        for var, name in zip(weighted, names, strict=True):
            if is_depthwise(values[var]):
                by_layer[name] = LayerBits(scheme.depthwise_bits, scheme.depthwise_bits)
    for edge in (*names[:1], *names[-1:]):
        by_layer[edge] = LayerBits(scheme.edge_bits, scheme.edge_bits)
    # A dynamic product reads float: its rows have 8 bits, whatever gives them.
    sources = {
        var: _behind_moves(values, plan, values[var].args[0]) for var in weighted if var not in plan.dynamic
    }
    for var, name in zip(weighted, names, strict=True):
        if name not in (names[0], names[-1]) and var in sources and giver(sources[var]) == names[0]:
            old = by_layer[name]
            by_layer[name] = LayerBits(old.weights, max(old.activations, scheme.edge_bits))
    for pattern, bits in wanted.items():
        found = [name for name in names if matches(pattern, name)]
        if not found:
            raise unknown("weighted layer", pattern, names)
        for name in found:
            by_layer[name] = _layer_bits(pattern, bits, by_layer[name])
    asked = {var: by_layer[name].activations for var, name in zip(weighted, names, strict=True)}
    produced: dict[str, int] = {}
    for var, bits in _most(values, plan, asked, scheme).items():
        # One layer of the user's may give several values.
        produced[giver(var)] = max(produced.get(giver(var), 0), bits)
    second = {var: source for var, source in sources.items() if asked[var] < produced[giver(source)]}
    narrowed: dict[str, int] = {}
    for var, source in second.items():
        narrowed[giver(source)] = max(narrowed.get(giver(source), 0), asked[var])
    return Decision(
        Bits(
            default,
            {name: bits.weights for name, bits in by_layer.items() if bits.weights != default.weights},
            {name: bits for name, bits in produced.items() if bits != default.activations},
            narrowed,
            scheme.narrow_range,
        ),
        second,
    )


def with_kernels(bits: Bits, row: TargetRow, allow_wider: bool) -> Bits:
    """Return the bits with those of weights for which the target has a kernel.

    Raises
    ------
    TvmqError : there are others, and the next wider ones are not allowed; it says which the target has.
    """
    by_layer = {"": bits.default.weights, **bits.weights}
    wider: dict[str, int] = {}
    for layer, count in by_layer.items():
        if count in row.weight_bits:
            continue
        which = f"weights of {count} bits" + (f", of layer {layer!r}" if layer else "")
        kernels = f"{row.name} has no kernel for {which}; it has those for {_listed(row.weight_bits)} bits"
        if not allow_wider:
            raise TvmqError(f"{kernels}. allow_wider (--allow-wider) takes the next wider ones")
        wider[layer] = min(width for width in row.weight_bits if width > count)
        logger.warning("%s, and gets %d", kernels, wider[layer])
    default = LayerBits(wider.pop("", bits.default.weights), bits.default.activations)
    return dataclasses.replace(bits, default=default, weights={**bits.weights, **wider})


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"


def _most(
    values: Mapping[relax.Var, relax.Expr], plan: Plan, asked: Mapping[relax.Var, int], scheme: Scheme
) -> dict[relax.Var, int]:
    """Return the most bits that a reader asks for, of each value with a pair that is read."""
    found: dict[relax.Var, int] = {}
    for var, value in reversed(list(values.items())):
        role = plan.roles.get(var)
        if role in (None, MOVE, FUSED) or var in plan.dynamic:
            continue
        bits = asked.get(var, scheme.other_bits)
        if role == CONCAT:
            bits = found.get(var, bits)  # it, too, moves values
        for operand in activations(value):
            source = _behind_moves(values, plan, operand)
            if source in plan.pairs:
                found[source] = max(found.get(source, 0), bits)
    return found


def _behind_moves(values: Mapping[relax.Var, relax.Expr], plan: Plan, var: relax.Var) -> relax.Var:
    """Return the value with a pair whose elements are in ``var``, or a float value that moves give it from."""
    while var not in plan.pairs and plan.roles.get(var) == MOVE:
        var = activations(values[var])[0]
    return var


def _layer_bits(pattern: str, bits: int | tuple[int, int], old: LayerBits) -> LayerBits:
    pair = (bits, old.activations) if isinstance(bits, int) else tuple(bits)
    if len(pair) != 2 or not all(isinstance(count, int) and MIN_BITS <= count <= MAX_BITS for count in pair):
        raise TvmqError(
            f"bits of layer {pattern!r}: expected {MIN_BITS} to {MAX_BITS}, for the weights or for weights and "
            f"activations, or 1 for both, got {bits!r}"
        )
    return LayerBits(*pair)
