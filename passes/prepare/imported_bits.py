"""A module that came quantized --> the same, with the bits of its tensors where they are fewer than 8.

    quantize(clip(x, (low - z) s, (high - z) s), s, z)   -->  an activation of b bits, whose limits low and high are
    conv2d(., dequantize(integers))                      -->  weights of as many bits as the integers need

Exporters of networks that were trained quantized (QCDQ) store all integers in 8 bits, and clip them. In the hub an
attribute says how many bits a tensor has (``passes.hub.bits``), and the layers' records say it to the user.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import IRModule, relax

from ..hub.annotation import has_pairs, is_unknown
from ..hub.bits import ATTRIBUTE, Bits, with_bits
from ..hub.contract import module_pass
from ..hub.graph import bindings_of, is_constant, layer_name, op_name, to_numpy
from ..hub.layers import get_layers, with_layers
from ..hub.limits import limits_of
from ..hub.parameters import MAX_BITS, activation_limits, bits_of
from .affine import CHANNEL_AXIS

FEWEST = 2


@module_pass()
@dataclass(frozen=True)
class ImportedBits:
    """Note how many bits the tensors of a Q/DQ module have, unless it says so itself."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with the attribute; one of 8 bits throughout, or without pairs, as it is."""
        if not has_pairs(mod) or (mod.attrs is not None and ATTRIBUTE in mod.attrs):
            return mod
        values = {binding.var: binding.value for binding in bindings_of(mod)}
        weights, activations = {}, {}
        for value in values.values():
            name = layer_name(value)
            if op_name(value) in CHANNEL_AXIS:
                weights[name] = _weight_bits(value, values)
            elif op_name(value) == "relax.quantize" and name:
                activations[name] = _activation_bits(value, values)
        weights, activations = (
            {name: bits for name, bits in found.items() if bits < MAX_BITS}
            for found in (weights, activations)
        )
        if not weights and not activations:
            return mod
        layers = [
            dataclasses.replace(layer, details={**layer.details, "output_bits": activations[layer.name]})
            if layer.name in activations
            else layer
            for layer in get_layers(mod)
        ]
        return with_bits(with_layers(mod, layers), Bits(weights=weights, activations=activations))


def _weight_bits(call: relax.Call, values: Mapping[relax.Var, relax.Expr]) -> int:
    """Return the bits of a weighted operator's weights."""
    weight = values.get(call.args[1])
    while op_name(weight) in ("relax.permute_dims", "relax.reshape"):
        weight = values.get(weight.args[0])
    if op_name(weight) != "relax.dequantize" or not all(map(is_constant, weight.args)):
        return MAX_BITS
    integers, zero_point = to_numpy(weight.args[0]), to_numpy(weight.args[2])
    if integers.dtype.itemsize > 1 or zero_point.any():
        return MAX_BITS
    return max(bits_of(integers), FEWEST)


def _activation_bits(call: relax.Call, values: Mapping[relax.Var, relax.Expr]) -> int:
    """Return the bits whose limits are those of the clip before a quantizer of a whole tensor."""
    clip = values.get(call.args[0])
    parameters = call.args[1:]
    if op_name(clip) != "relax.clip" or not all(map(is_constant, parameters)) or is_unknown(call):
        return MAX_BITS
    scale, zero_point = map(to_numpy, parameters)
    if scale.size != 1:
        return MAX_BITS
    dtype = str(call.attrs.out_dtype)
    if dtype not in ("int8", "uint8"):
        return MAX_BITS
    integers = tuple(float(np.rint(limit / scale.item())) + zero_point.item() for limit in limits_of(clip))
    return next(
        (bits for bits in range(FEWEST, MAX_BITS) if activation_limits(dtype, bits) == integers), MAX_BITS
    )
