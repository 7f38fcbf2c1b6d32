"""Batch norm becomes a multiplication and an addition per channel, in its own name."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.hub.graph import bindings_of, layer_name
from tvmq.passes.prepare.split_batch_norm import SplitBatchNorm

from ..modules import assert_close, calls, module, operators, random


def _norm(b, x, *, training=False, computed=False, **attrs):
    channels = x.ty.shape[1]
    gamma, beta, mean = (relax.const(random(int(channels), seed=seed)) for seed in (2, 3, 4))
    variance = relax.const(np.abs(random(int(channels), seed=5)) + np.float32(0.1))
    if computed:
        gamma = b.add(relax.op.abs(gamma))
    norm = relax.op.nn.batch_norm(x, gamma, beta, mean, variance, axis=1, training=training, **attrs)
    return b.add(relax.TupleGetItem(b.add(norm, "norm"), 0))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 4), (2, 3)])
@pytest.mark.parametrize("attrs", [{}, {"center": False}, {"scale": False}, {"epsilon": 0.5}])
def test_splits(shape, attrs):
    mod = module({"x": shape}, lambda b, x: _norm(b, x, **attrs))
    new = SplitBatchNorm()(mod)
    assert operators(new) == ["multiply", "add"]
    assert [layer_name(binding.value) for binding in bindings_of(new)][:2] == ["norm", "norm"]
    assert calls(new, "add")[0].args[1].ty.shape[1] == 3
    assert_close(mod, new)


@pytest.mark.parametrize("attrs", [{"training": True}, {"computed": True}])
def test_statistics_of_the_graph_itself_stay(attrs):
    mod = module({"x": (2, 3, 4, 5)}, lambda b, x: _norm(b, x, **attrs))
    assert "batch_norm" in operators(SplitBatchNorm()(mod))
