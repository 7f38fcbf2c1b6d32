"""Recurrent layers with quantized weights --> their kernels on integers.

    call_tir(lstm, (x, dequantize(R), bias, ..))  -->  call_tir(qlstm, (x, R packed, offsets, scales, bias, ..))

``Realize`` does this first; to its walks such a call is one of float values.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from tvm import IRModule, relax, tirx

from ...targets.row import TargetRow
from ..hub.graph import bindings_of, constant, is_constant, layer_name, op_name, rebuild, to_numpy
from ..hub.layers import get_layers, with_layers
from ..hub.recurrences import (
    RECURRENT_WEIGHTS,
    WEIGHTS,
    Recurrence,
    kernel_of,
    operands_of,
    recurrences,
    with_operands,
)
from .compute.integer_recurrence import Form, centre_of, integer_recurrence
from .realizers.dots import choose_dot
from .realizers.weights import Weight


def realize_recurrences(mod: IRModule, row: TargetRow) -> IRModule:
    """Return the module in which recurrent layers with quantized weights run on integers, but for a GPU in float."""
    layers = recurrences(mod)
    if not layers:
        return mod
    values = {binding.var: binding.value for binding in bindings_of(mod)}
    said: dict[str, str] = {}

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        kernel = kernel_of(value)
        if kernel not in layers:
            return value
        weight = _weight(values.get(operands_of(values[var])[WEIGHTS]))
        if weight is None:
            return value
        operands = operands_of(value)
        if row.gpu is not None:
            said[layer_name(value)] = "float: a GPU has no kernel of recurrences on integers"
            operands[WEIGHTS] = constant((weight.values * weight.scale).astype(np.float32))
            return with_operands(value, operands)
        said[layer_name(value)] = "int8, by states of 8 bits with a scale for each sample and step"
        function, packed = _on_integers(layers[kernel], weight, row)
        operands[WEIGHTS : WEIGHTS + 1] = map(constant, packed)
        return with_operands(value, operands, builder.add_func(function, f"q{kernel.name_hint}"))

    made = rebuild(mod, rewrite)
    records = [
        dataclasses.replace(layer, details={**layer.details, RECURRENT_WEIGHTS: said[layer.name]})
        if layer.name in said
        else layer
        for layer in get_layers(made)
    ]
    return with_layers(made, records)


def _weight(value: relax.Expr | None) -> Weight | None:
    """Return the recurrent weights where they are integers."""
    if op_name(value) != "relax.dequantize" or not all(map(is_constant, value.args)):
        return None
    values, scale, zero_point = map(to_numpy, value.args)
    centred = values.astype(np.int32) - zero_point.astype(np.int32)
    if np.abs(centred + 0.5).max(initial=0) > 128:
        return None
    return Weight(
        centred.astype(np.int8), np.broadcast_to(scale.reshape(-1), values.shape[1:]).astype(np.float64), 1
    )


def _on_integers(
    layer: Recurrence, weight: Weight, row: TargetRow
) -> tuple[tirx.PrimFunc, tuple[np.ndarray, ...]]:
    """Return the kernel, and what it reads in place of the weights."""
    dot = choose_dot(row, weight, merged=False)
    form = Form.of(layer, dot, row)
    offsets = -centre_of(dot) * weight.values.sum(axis=0, dtype=np.int32)
    packed = (
        form.pack_weights(weight.values),
        form.pack_columns(offsets.astype(np.int32)),
        form.pack_columns(weight.scale.astype(np.float32)),
    )
    return integer_recurrence(form, row), packed
