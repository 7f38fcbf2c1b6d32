"""Compressed weights --> a call that unpacks them (``passes.hub.compressed``)."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
from tvm import relax

from ..hub.codes import Codes, Grouped, to_stream
from ..hub.compressed import ATTRIBUTE
from ..hub.graph import constant, with_layer_name
from ..realize.compute import stored


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
