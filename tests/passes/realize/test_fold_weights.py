"""Integers for float weights, and what the layer records say of them."""

from __future__ import annotations

import numpy as np
from tvm import relax

from tvmq.passes.hub.layers import get_layers
from tvmq.passes.realize.fold_weights import FoldWeights

from ..qdq import Hub

VALUES = np.arange(-8, 8, dtype=np.float32).reshape(4, 4)
SCALES = np.float32([0.1, 0.2, 0.3, 0.4])


def test_readers_of_one_weight_say_whose_it_is():
    def define(hub):
        parameters = relax.const(SCALES), relax.const(np.zeros(4, np.int8))
        # As annotated: a weight has the name of the layer that reads it first.
        stored = relax.op.quantize(relax.const(VALUES), *parameters, axis=1, out_dtype="int8")
        weight = hub.emit(relax.op.dequantize(hub.emit(stored, "first"), *parameters, axis=1), "first")
        first = hub.emit(relax.op.matmul(hub.pair(hub.params["x"], 0.1, 0), weight), "first")
        return hub.emit(relax.op.matmul(hub.pair(first, 0.7, 0), weight), "second")

    mod = FoldWeights()(Hub(x=((2, 4), "float32")).module(define))
    details = {layer.name: layer.details for layer in get_layers(mod)}
    assert details["first"]["weight_shape"] == [4, 4]
    assert details["first"]["weight_bytes"] == 16
    assert "weights_of" not in details["first"]
    assert details["second"] == {"weights_of": "first", "weight_shape": [4, 4]}
