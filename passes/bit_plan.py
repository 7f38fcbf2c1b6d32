"""The bits of each layer: what the user says of it, or the scheme's, which spares the first and the last one.

An activation has as many bits as the weighted layer that reads it asks for; the most where several do, also
through operators that only move its values. One that no weighted layer reads has the scheme's.
"""

from __future__ import annotations

from collections.abc import Mapping

from tvm import IRModule, relax

from ..errors import TvmqError, unknown
from .bits import Bits, LayerBits
from .graph import bindings_of, layer_name
from .operators import MOVE, WEIGHTED
from .parameters import MAX_BITS
from .plan import Plan, activations
from .schemes import Scheme
from .selection import matches

MIN_BITS = 2


def decide_bits(
    mod: IRModule, plan: Plan, scheme: Scheme, wanted: Mapping[str, int | tuple[int, int]]
) -> Bits:
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
    default = LayerBits(scheme.weight_bits, scheme.activation_bits)
    by_layer = dict.fromkeys(names, default)
    for edge in (*names[:1], *names[-1:]):
        by_layer[edge] = LayerBits(scheme.edge_bits, scheme.edge_bits)
    for pattern, bits in wanted.items():
        found = [name for name in names if matches(pattern, name)]
        if not found:
            raise unknown("weighted layer", pattern, names)
        for name in found:
            by_layer[name] = _layer_bits(pattern, bits, by_layer[name])
    read: dict[relax.Var, int] = {}
    for var in weighted:
        source = _behind_moves(values, plan, values[var].args[0])
        read[source] = max(read.get(source, 0), by_layer[layer_name(values[var])].activations)
    produced: dict[str, int] = {}
    for var, bits in read.items():
        anchor = plan.anchors.get(var, var)
        name = layer_name(values[anchor]) if anchor in values else var.name
        # One layer of the user's may give several values.
        produced[name] = max(produced.get(name, 0), bits)
    return Bits(
        default,
        {name: bits.weights for name, bits in by_layer.items() if bits.weights != default.weights},
        {name: bits for name, bits in produced.items() if bits != default.activations},
    )


def _behind_moves(values: Mapping[relax.Var, relax.Expr], plan: Plan, var: relax.Var) -> relax.Var:
    while var not in plan.pairs and plan.roles.get(var) == MOVE:
        var = activations(values[var])[0]
    return var


def _layer_bits(pattern: str, bits: int | tuple[int, int], old: LayerBits) -> LayerBits:
    pair = (bits, old.activations) if isinstance(bits, int) else tuple(bits)
    if len(pair) != 2 or not all(isinstance(count, int) and MIN_BITS <= count <= MAX_BITS for count in pair):
        raise TvmqError(
            f"bits of layer {pattern!r}: expected {MIN_BITS} to {MAX_BITS}, for the weights or for weights and "
            f"activations, got {bits!r}"
        )
    return LayerBits(*pair)
