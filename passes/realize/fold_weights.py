"""Float weights behind a pair --> integers, as the last step of quantization.

    dequantize(quantize(w + offset, s, 0), s, 0)  -->  dequantize(integers, s, 0)

From here on the module is what ``Realize`` reads and what can be written to a file; the layer records get the
final parameters.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import IRModule, relax

from ..hub.graph import bindings_of, constant, layer_name, rebuild
from ..hub.layers import get_layers, with_layers
from ..hub.pairs import ActivationPair, WeightPair, activation_pairs, weight_pairs


@tvm.transform.module_pass(opt_level=0, name="tvmq.FoldWeights")
@dataclass(frozen=True)
class FoldWeights:
    """Put integers for float weights."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module without float weights; pairs whose parameters are unknown stay."""
        weights = [weight for weight in weight_pairs(mod) if not weight.is_unknown]
        integers = {weight.quantize: constant(weight.integers) for weight in weights}

        def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
            return integers.get(var, value)

        folded = relax.transform.DeadCodeElimination()(rebuild(mod, rewrite))
        details: dict[str, dict[str, Any]] = {}
        pairs: list[WeightPair | ActivationPair] = [*weights, *activation_pairs(mod)]
        for pair in pairs:
            if not pair.is_unknown:
                details.setdefault(pair.name, {}).update(_details(pair))
        operators = {binding.var: layer_name(binding.value) for binding in bindings_of(mod)}
        for weight in weights:
            for reader in weight.readers:
                if operators[reader] != weight.name:
                    shared = {"weights_of": weight.name, "weight_shape": list(weight.integers.shape)}
                    details.setdefault(operators[reader], {}).update(shared)
        layers = [
            dataclasses.replace(layer, details={**layer.details, **details.get(layer.name, {})})
            for layer in get_layers(folded)
        ]
        return with_layers(folded, layers)


def _details(pair: WeightPair | ActivationPair) -> dict[str, Any]:
    if isinstance(pair, ActivationPair):
        return {
            "output_dtype": pair.dtype,
            "output_bits": pair.bits,
            "output_scale": pair.scale,
            "output_zero_point": pair.zero_point,
        }
    return {
        "weight_shape": list(pair.integers.shape),
        "weight_bits": pair.bits,
        "weight_bytes": -(-pair.integers.size * pair.bits // 8),
        "weight_scale_min": float(pair.scales.min()),
        "weight_scale_max": float(pair.scales.max()),
    }
