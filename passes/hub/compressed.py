"""Compressed weights in a Relax module: a call that unpacks them, and the way back from it.

    w = call_tir(unpack, stream, table)              the function's attribute ``tvmq.stored`` says how
    w = call_tir(unpack, stream, table, scales)      a codebook

So the module runs as it stands, and holds the weights in the size that they have in a package.
"""

from __future__ import annotations

import json

from tvm import IRModule, relax

from .codes import Codebook, Codes, Grouped, from_stream
from .graph import bindings_of, layer_name, op_name, shape_of, to_numpy
from .operators import WEIGHT_AXIS

ATTRIBUTE = "tvmq.stored"


def unpacks(mod: IRModule, value: relax.Expr) -> bool:
    """Tell whether a bound value is compressed weights."""
    if op_name(value) != "relax.call_tir":
        return False
    attrs = mod[value.args[0]].attrs
    return attrs is not None and ATTRIBUTE in attrs


def read(mod: IRModule, value: relax.Call) -> Codes:
    """Return the weights that a bound value unpacks."""
    record = json.loads(str(mod[value.args[0]].attrs[ATTRIBUTE]))
    stream, table, *rest = (to_numpy(item) for item in value.args[1].fields)
    bits = record["bits"]
    codes = from_stream(stream, bits, shape_of(value))
    return (
        Grouped(bits, codes, table, record["group"])
        if "group" in record
        else Codebook(bits, codes, table, *rest)
    )


def compressed(mod: IRModule) -> dict[relax.Var, Codes]:
    """Return the module's compressed weights by the variables that they are bound to, in graph order."""
    return {
        binding.var: read(mod, binding.value) for binding in bindings_of(mod) if unpacks(mod, binding.value)
    }


def unpacked(mod: IRModule) -> set[relax.Var]:
    """Return the variables that are bound to compressed weights, whose codes are not read."""
    return {binding.var for binding in bindings_of(mod) if unpacks(mod, binding.value)}


def compressed_layers(mod: IRModule) -> set[str]:
    """Return the names of the layers that read compressed weights."""
    weights = unpacked(mod)
    return {
        layer_name(binding.value)
        for binding in bindings_of(mod)
        if op_name(binding.value) in WEIGHT_AXIS and binding.value.args[1] in weights
    }
