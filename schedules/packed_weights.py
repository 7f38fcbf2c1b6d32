"""Compressed weights that a GPU's kernels read as they lie in memory, in few bits: they are never unpacked.

    w = unpack(stream, table); matmul(x, w)  -->  kernel(x, words, scales)

A GPU reads all weights of a network for each word that a language model says, so bytes are time. Those of up to 8 bits
with a scale for each group stay packed where they are a matrix: of products and of convolutions of one pixel. Others
are unpacked when the package is loaded (``stored_weights``): codebooks, more bits, other convolutions, groups that are
no multiple of 4.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from tvm import IRModule, relax

from ..passes.hub.codes import Codes, Grouped
from ..passes.hub.compressed import compressed
from ..passes.hub.graph import bindings_of, dtype_of, layer_name, op_name, rebuild, shape_of, with_layer_name
from ..passes.hub.op_patterns import OUT_ELEMWISE_FUSABLE
from ..passes.hub.operators import WEIGHT_AXIS
from ..passes.hub.packing import STORED_BITS, TOGETHER, pack_words, stored_bits
from ..passes.realize.compute import scaled
from ..passes.realize.compute.naming import kernel_name


def keep_packed(mod: IRModule) -> IRModule:
    """Return the module in which operators read compressed weights packed, where kernels do."""
    weights = compressed(mod)
    matrices = {var: matrix for var, codes in weights.items() if (matrix := _matrix(codes)) is not None}
    readers = {
        binding.var: binding.value.args[1]
        for binding in bindings_of(mod)
        if op_name(binding.value) in WEIGHT_AXIS
        and binding.value.args[1] in matrices
        and _fits(binding.value)
    }
    if not readers:
        return mod
    packed = {weight: _packed(matrices[weight]) for weight in readers.values()}

    def rewrite(builder: relax.BlockBuilder, var: relax.Var, value: relax.Expr) -> relax.Expr:
        if var not in readers:
            return value
        weight = readers[var]
        return with_layer_name(_call(builder, value, matrices[weight], packed[weight]), layer_name(value))

    return relax.transform.DeadCodeElimination()(rebuild(mod, rewrite))


def _matrix(codes: Codes) -> Grouped | None:
    """Return compressed weights as ``[columns, inner]``; None where no kernel reads them packed."""
    if not isinstance(codes, Grouped) or codes.bits > STORED_BITS[-1]:
        return None
    if codes.codes.ndim == 4:
        if codes.codes.shape[2:] != (1, 1):
            return None
        integers, table = codes.codes[:, :, 0, 0], codes.table[:, :, 0, 0]
    else:
        integers, table = codes.codes.T, codes.table.T
    if table.shape[1] > 1 and codes.group % TOGETHER:
        return None
    return Grouped(codes.bits, np.ascontiguousarray(integers), table, codes.group)


def _width(bits: int) -> int:
    """Return the bits that a weight has in memory; those of 1 bit are -1 and 1."""
    return stored_bits(max(bits, STORED_BITS[0]))


def _packed(matrix: Grouped) -> tuple[relax.Expr, relax.Expr]:
    """Return words and scales."""
    bits = _width(matrix.bits)
    words = pack_words(matrix.integers, bits)
    return relax.const(words), relax.const(_scales(matrix, words, bits))


def _scales(matrix: Grouped, words: np.ndarray, bits: int) -> np.ndarray:
    """Return the scales of all columns and groups, float32; those of the words' padding are 0."""
    columns = matrix.codes.shape[0]
    scales = np.broadcast_to(matrix.table, (columns, matrix.table.shape[1]))
    if scales.shape[1] > 1:
        length = words.size // columns * (8 // bits)
        scales = np.pad(scales, ((0, 0), (0, -(-length // matrix.group) - scales.shape[1])))
    return np.ascontiguousarray(scales)


def _fits(call: relax.Call) -> bool:
    """Tell whether an operator is a matrix product by its weights."""
    data, weight = call.args
    if dtype_of(data) != "float32" or 0 in shape_of(data):
        return False
    if op_name(call) == "relax.matmul":
        return bool(shape_of(data)) and len(shape_of(weight)) == 2
    if op_name(call) != "relax.nn.conv2d" or int(call.attrs.groups) != 1:
        return False
    layouts = (call.attrs.data_layout, call.attrs.kernel_layout)
    return layouts == ("NHWC", "OIHW") and not any(int(width) for width in call.attrs.padding)


def _call(
    builder: relax.BlockBuilder,
    call: relax.Call,
    matrix: Grouped,
    packed: tuple[relax.Expr, relax.Expr],
) -> relax.Expr:
    columns, inner = matrix.codes.shape
    bits = _width(matrix.bits)
    # Of one scale a column the group is the whole column.
    group = matrix.group if matrix.table.shape[1] > 1 else inner
    kind, define = "matmul", partial(scaled.matmul, bits=bits, group=group)
    if op_name(call) == "relax.nn.conv2d":
        down, across = (int(step) for step in call.attrs.strides)
        kind, define = "conv2d", partial(scaled.pointwise, strides=(down, across), bits=bits, group=group)
    return builder.call_te(
        define,
        *(call.args[0], *packed),
        primfunc_name_hint=kernel_name(f"w{bits}_{kind}", shape_of(call.args[0]), columns),
        primfunc_attrs={"op_pattern": OUT_ELEMWISE_FUSABLE},
    )
