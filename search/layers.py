"""What a search chooses for: the layers of a Q/DQ module that run on integers, each with what it quantizes.

dq(q(x)) -> max_pool -> conv2d(., dq(q(w)))        the layer of conv2d: the weights w, the activation x
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tvm import IRModule, relax

from ..passes.hub.graph import activations, bindings_of, layer_name, op_name
from ..passes.hub.operators import MOVE, OPERATORS
from ..passes.hub.pairs import WeightPair, activation_pairs, transparent, weight_pairs
from ..passes.hub.parameters import MAX_BITS
from .trials import unit_of


@dataclass(frozen=True)
class QuantizedLayer:
    """A layer of the user's.

    Attributes
    ----------
    name : as options name it.
    weights : number of its quantized weights; 0 where it has none, or another layer holds them.
    bits : of these weights.
    activations : names of the quantized activations that it reads.
    """

    name: str
    weights: int
    bits: int
    activations: frozenset[str]


def quantized_layers(mod: IRModule) -> list[QuantizedLayer]:
    """Return the layers of a module with pairs that read quantized values, in graph order."""
    weights: dict[str, list[WeightPair]] = {}
    for pair in weight_pairs(mod):
        weights.setdefault(unit_of(pair.name), []).append(pair)
    read: dict[str, set[str]] = {}
    for name, found in _reads(mod):
        read.setdefault(name, set()).update(found)
    return [
        QuantizedLayer(
            name,
            sum(pair.values.size for pair in weights.get(name, ())),
            max((pair.bits for pair in weights.get(name, ())), default=MAX_BITS),
            frozenset(found),
        )
        for name, found in read.items()
    ]


def _reads(mod: IRModule) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each operator that reads quantized activations: its layer, and their names."""
    pairs = {pair.dequantize: pair.name for pair in activation_pairs(mod)}
    skipped = transparent(mod)
    carried: dict[relax.Var, frozenset[str]] = {}
    for binding in bindings_of(mod):
        if binding.var in skipped and binding.var not in pairs:
            continue
        found = frozenset().union(*(carried.get(var, frozenset()) for var in activations(binding.value)))
        row = OPERATORS.get(op_name(binding.value))
        if binding.var in pairs:
            carried[binding.var] = frozenset({pairs[binding.var]})
        elif row is not None and row.kind != MOVE:
            if found:
                yield layer_name(binding.value), found
        elif row is not None or not op_name(binding.value):
            carried[binding.var] = found  # tuples and their items move values too
