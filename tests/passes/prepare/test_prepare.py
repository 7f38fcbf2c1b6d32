"""The rewrites together: a block as exporters write it becomes convolution, bias and activation."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax

from tvmq.passes.hub.layers import get_layers
from tvmq.passes.prepare.drop_identities import DropIdentities
from tvmq.passes.prepare.prepare import Prepare

from ..modules import assert_close, const, module, operators, random


def _block(b, x):
    """pad -> conv -> bias -> batch norm -> dropout -> max(., 0) -> min(., 6) -> mean -> dense by transposed weights."""
    padded = b.add(relax.op.nn.pad(x, [0, 0, 0, 0, 1, 1, 1, 1]), "pad")
    conv = b.add(relax.op.nn.conv2d(padded, const(8, 4, 3, 3)), "conv")
    bias = b.add(relax.op.reshape(const(8), (1, 8, 1, 1)), "conv")
    conv = b.add(relax.op.add(conv, bias), "conv")
    variance = relax.const(np.abs(random(8, seed=5)) + np.float32(0.1))
    norm = relax.op.nn.batch_norm(
        conv, const(8), const(8, seed=2), const(8, seed=3), variance, 1, training=False
    )
    value = b.add(relax.TupleGetItem(b.add(norm, "norm"), 0))
    value = b.add(relax.TupleGetItem(b.add(relax.op.nn.dropout(value), "dropout"), 0))
    value = b.add(relax.op.maximum(value, relax.const(0.0)), "clip")
    value = b.add(relax.op.minimum(value, relax.const(6.0)), "clip")
    value = b.add(relax.op.mean(value, [2, 3], keepdims=True), "pool")
    value = b.add(relax.op.reshape(value, (1, 8)), "flatten")
    weight = b.add(relax.op.permute_dims(const(5, 8)), "gemm")
    return b.add(relax.op.add(b.add(relax.op.matmul(value, weight), "gemm"), const(5)), "gemm")


EXPECTED = ["conv2d", "add", "clip", "mean", "reshape", "matmul", "add"]


def _without_dropout(mod):
    """Dropout cannot be lowered, so the reference goes without it."""
    return DropIdentities()(mod)


def test_a_block():
    mod = module({"x": (1, 4, 5, 6)}, _block)
    new = Prepare()(mod)
    assert operators(new) == EXPECTED
    assert_close(_without_dropout(mod), new, 36)


def test_records_say_what_was_folded():
    new = Prepare()(module({"x": (1, 4, 5, 6)}, _block))
    status = {layer.name: layer.status for layer in get_layers(new)}
    folded = {name for name, value in status.items() if value == "folded"}
    assert folded == {"pad", "norm", "dropout"}
    assert status.keys() - folded == {"conv", "clip", "pool", "flatten", "gemm"}


def test_inside_a_sequential_and_twice():
    mod = module({"x": (1, 4, 5, 6)}, _block)
    new = tvm.transform.Sequential([Prepare(), Prepare()])(mod)
    assert operators(new) == EXPECTED


def test_batch_norm_before_a_convolution():
    def body(b, x):
        variance = relax.const(np.abs(random(4, seed=5)) + np.float32(0.1))
        norm = relax.op.nn.batch_norm(x, const(4), const(4), const(4), variance, 1, training=False)
        return b.add(relax.op.nn.conv2d(b.add(relax.TupleGetItem(b.add(norm), 0)), const(8, 4, 3, 3)))

    mod = module({"x": (1, 4, 5, 6)}, body)
    new = Prepare()(mod)
    assert operators(new) == ["conv2d", "add"]
    assert_close(mod, new, 36)
