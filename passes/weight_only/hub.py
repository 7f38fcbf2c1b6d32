"""Compressed weights in a Relax module: a call that unpacks them, and the way back from it.

    w = call_tir(unpack, stream, table)              the function's attribute ``tvmq.stored`` says how
    w = call_tir(unpack, stream, table, scales)      a codebook

So the module runs as it stands, and holds the weights in the size that they have in a package.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tvm
from tvm import IRModule, relax

from ..compute import stored
from ..graph import (
    bindings_of,
    constant,
    layer_name,
    op_name,
    rebuild,
    shape_of,
    to_numpy,
    with_layer_name,
)
from ..operators import WEIGHT_AXIS
from .codes import Codebook, Codes, Grouped, from_stream, to_stream

ATTRIBUTE = "tvmq.stored"


def emit(builder: relax.BlockBuilder, codes: Codes, layer: str) -> relax.Var:
    """Bind the weights, float32, of the layer of that name."""
    shape, bits = codes.codes.shape, codes.bits
    stream = to_stream(codes.codes, bits)
    padded = np.pad(stream, (0, stored.stream_bytes(codes.codes.size, bits) - stream.size))
    record: dict[str, Any] = {"bits": bits}
    tables = [constant(codes.table)]
    if isinstance(codes, Grouped):
        record["group"] = codes.group
        define = partial(stored.grouped, shape=shape, bits=bits, group=codes.group)
    else:
        tables.append(constant(codes.scales))
        define = partial(stored.codebook, shape=shape, bits=bits)
    call = builder.call_te(
        define,
        constant(padded),
        *tables,
        primfunc_name_hint=f"unpack{bits}",
        primfunc_attrs={ATTRIBUTE: json.dumps(record)},
    )
    return builder.emit(with_layer_name(call, layer))


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


def compressed_layers(mod: IRModule) -> set[str]:
    """Return the names of the layers that read compressed weights."""
    weights = {binding.var for binding in bindings_of(mod) if unpacks(mod, binding.value)}
    return {
        layer_name(binding.value)
        for binding in bindings_of(mod)
        if op_name(binding.value) in WEIGHT_AXIS and binding.value.args[1] in weights
    }


@tvm.transform.module_pass(opt_level=0, name="tvmq.RestoreWeights")
@dataclass(frozen=True)
class RestoreWeights:
    """Put float constants for compressed weights: the same numbers, as simulation and tuning want them."""

    def transform_module(self, mod: IRModule, ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module without compressed weights."""
        values = {var: constant(codes.values()) for var, codes in compressed(mod).items()}
        if not values:
            return mod
        restored = rebuild(mod, lambda builder, var, value: values.get(var, value))
        return relax.transform.DeadCodeElimination()(restored)
