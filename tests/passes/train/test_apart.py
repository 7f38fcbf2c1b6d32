"""Rows of a batch that change each other are found, and those that do not are taken together."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.hub.pairs import activation_pairs
from tvmq.passes.train.apart import ALONE, draws_for, is_apart
from tvmq.passes.train.network import network
from tvmq.passes.train.trainable import TrainableModel

from ..modules import const, module, random
from .networks import FINE, SHAPE, calibrated, unoptimized

ROWS = (
    lambda x: x * 2.0,
    lambda x: x - x.max(1, keepdims=True),
    lambda x: x.reshape(len(x), 2, -1).transpose(0, 2, 1),
    lambda x: np.sqrt(x),  # NaN below 0
    lambda x: x.argmax(1),
)
MIXED = (
    lambda x: x - x.max(0, keepdims=True),
    lambda x: np.cumsum(x, 0),
    lambda x: x + x[:1],
    lambda x: x[::-1],
    lambda x: x.T.reshape(x.shape),
    lambda x: x.reshape(-1, 2, x.shape[1]).sum(1).repeat(2, 0) if len(x) % 2 == 0 else np.roll(x, 1, 0),
)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_rows(count):
    draws = [random(count, 6, seed=1)], [random(count, 6, seed=2)]
    with np.errstate(invalid="ignore"):
        assert all(is_apart(lambda given, rule=rule: [rule(*given)], draws, count) for rule in ROWS)
    assert not any(is_apart(lambda given, rule=rule: [rule(*given)], draws, count) for rule in MIXED)


def _network(mixes: bool):
    def body(b, x):
        inner = b.add(relax.op.nn.relu(b.add(relax.op.matmul(x, const(16, 16)))))
        most = b.add(relax.op.max(inner, axis=0 if mixes else 1, keepdims=True))
        return b.add(relax.op.matmul(b.add(relax.op.subtract(inner, most)), const(16, 4, seed=2)))

    return body


@pytest.mark.parametrize("mixes", [False, True])
def test_models(mixes, caplog):
    """Both with a shape that grows as the batch does."""
    caplog.set_level("INFO")
    given = [{"x": random(2, 16, seed=seed)} for seed in range(8)]
    hub = Calibrate(given)(Annotate(FINE)(module({"x": (2, 16)}, _network(mixes))))
    model = TrainableModel(hub, unoptimized, 4)
    assert (model.batch, ALONE in caplog.text) == ((1, True) if mixes else (4, False))
    caplog.clear()
    assert network(hub, hub, unoptimized, batch=4).batch == model.batch
    assert (ALONE in caplog.text) == mixes
    whole = np.concatenate([sample["x"] for sample in given])
    ((name, found),) = model.outputs({"x": whole}).items()
    for place, sample in enumerate(given):
        single = model.outputs(sample)[name]
        np.testing.assert_allclose(found[2 * place : 2 * place + 2], single, rtol=1e-5, atol=1e-5)


def test_floats_of_the_calibrated_range_are_drawn():
    hub = calibrated()
    low, high = next(pair.range for pair in activation_pairs(hub) if pair.name == "x")
    for (x,) in draws_for(hub, 4):
        assert (x.shape, x.dtype) == ((4, *SHAPE[1:]), np.float32)
        assert low <= x.min() < 0.9 * low and 0.9 * high < x.max() <= high


def test_indices_of_rows_that_there_are_are_drawn():
    mod = module({"ids": (1,)}, lambda b, ids: b.add(relax.op.take(const(5, 16), ids, axis=0)), dtype="int64")
    for (ids,) in draws_for(mod, 64):
        assert (ids.shape, ids.dtype, set(ids)) == ((64,), np.int64, set(range(5)))
