"""How many bits each tensor of a Q/DQ module gets, as ``Annotate`` decided it.

A pair alone does not say it: its integers of fewer than 8 bits are stored in 8. So the module carries it in an
attribute, the scheme's numbers and the layers that differ from them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tvm import IRModule

ATTRIBUTE = "tvmq.bits"


@dataclass(frozen=True)
class LayerBits:
    """Bits of a weighted layer's weights and of the activations that it reads."""

    weights: int
    activations: int


@dataclass(frozen=True)
class Bits:
    """The bits of a module's tensors.

    Attributes
    ----------
    default : of every tensor that is not named.
    weights : by the name of the first layer that reads the weights.
    activations : by the name of the layer, or of the model's input, that gives the value.
    narrowed : the same for the second pair of a value, with fewer bits, behind the first.
    narrow_range : as for ``parameters.weight_limits``.
    """

    default: LayerBits = LayerBits(8, 8)
    weights: Mapping[str, int] = field(default_factory=dict)
    activations: Mapping[str, int] = field(default_factory=dict)
    narrowed: Mapping[str, int] = field(default_factory=dict)
    narrow_range: bool = False

    def of_weights(self, layer: str) -> int:
        return self.weights.get(layer, self.default.weights)

    def of_activation(self, layer: str) -> int:
        return self.activations.get(layer, self.default.activations)

    def of_narrowed(self, layer: str) -> int:
        return self.narrowed.get(layer, self.of_activation(layer))


def get_bits(mod: IRModule) -> Bits:
    """Return the module's bits; 8 everywhere where it says nothing."""
    if mod.attrs is None or ATTRIBUTE not in mod.attrs:
        return Bits()
    record = json.loads(str(mod.attrs[ATTRIBUTE]))
    return Bits(LayerBits(**record.pop("default")), **record)


def with_bits(mod: IRModule, bits: Bits) -> IRModule:
    """Return the module with these bits in place of its own."""
    return mod.with_attr(ATTRIBUTE, json.dumps(dataclasses.asdict(bits)))
