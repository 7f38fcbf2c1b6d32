"""Ranges of activations move into weights, and the float model stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.hub.graph import to_numpy
from tvmq.passes.improve.smooth import Smooth, readers_of_norms

from ..modules import assert_close, calls, const, module, operators, random

SHAPE = (1, 5, 8)
OUTLIERS = np.array([100.0, 1, 1, 1, 1, 30.0, 1, 1], np.float32)
SAMPLES = [{"x": random(*SHAPE, seed=seed)} for seed in range(3)]


def _norm(b, x):
    return b.add(relax.op.nn.layer_norm(x, relax.const(OUTLIERS), const(8), [-1]))


def _norm_in_parts(b, x):
    centred = b.add(relax.op.subtract(x, b.add(relax.op.mean(x, [-1], keepdims=True))))
    return b.add(relax.op.add(b.add(relax.op.multiply(centred, relax.const(OUTLIERS))), const(8)))


def _norm_without_scale(b, x):
    centred = b.add(relax.op.subtract(x, b.add(relax.op.mean(x, [-1], keepdims=True))))
    variance = b.add(relax.op.mean(b.add(relax.op.multiply(centred, centred)), [-1], keepdims=True))
    return b.add(relax.op.divide(centred, b.add(relax.op.sqrt(variance))))


def _attention(norm):
    def body(b, x):
        hidden = norm(b, x)
        query, key = (b.add(relax.op.matmul(hidden, const(8, 8, seed=seed))) for seed in (2, 3))
        return b.add(relax.op.add(b.add(relax.op.add(query, key)), hidden))

    return module({"x": SHAPE}, body)


@pytest.mark.parametrize("norm", [_norm, _norm_in_parts])
def test_behind_a_norm(norm):
    before = _attention(norm)
    after = Smooth(SAMPLES)(before)
    assert operators(after).count("multiply") == operators(before).count("multiply") + 1
    first, second = calls(after, "matmul")
    assert first.args[0].same_as(second.args[0])
    added = calls(after, "add")[-1]
    assert not added.args[1].same_as(first.args[0])
    rows = [np.abs(to_numpy(call.args[1])).max(axis=1) for call in (*calls(before, "matmul"), first, second)]
    grown = np.maximum(rows[2], rows[3]) / np.maximum(rows[0], rows[1])
    assert grown[0] == grown.max() and grown[0] > 5 * np.median(grown)
    assert_close(before, after, products=8 * 100)


def test_a_norm_whose_scale_is_in_the_weights_already():
    before = _attention(_norm_without_scale)
    after = Smooth(SAMPLES)(before)
    assert len(readers_of_norms(before)) == 1
    assert operators(after).count("multiply") == operators(before).count("multiply") + 1
    assert_close(before, after, products=8 * 100)


def test_alpha_of_one_makes_columns_alike():
    after = Smooth(SAMPLES, alpha=1.0)(_attention(_norm))
    divisor = to_numpy(calls(after, "multiply")[0].args[1])
    largest = np.abs(np.concatenate([_norm_of(sample["x"]) for sample in SAMPLES])).max(axis=(0, 1))
    np.testing.assert_allclose(divisor, 1.0 / largest, rtol=1e-4)


def _norm_of(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-5) * OUTLIERS + random(8, seed=1)


def test_behind_a_linear_layer():
    def body(b, x):
        hidden = b.add(relax.op.matmul(x, relax.const(random(8, 6) * OUTLIERS[:6])))
        return b.add(relax.op.matmul(b.add(relax.op.nn.relu(hidden)), const(6, 3)))

    before = module({"x": SHAPE}, body)
    after = Smooth(SAMPLES)(before)
    assert operators(after) == operators(before)
    assert not np.array_equal(*(to_numpy(calls(mod, "matmul")[1].args[1]) for mod in (before, after)))
    assert_close(before, after, products=6 * 100)


@pytest.mark.parametrize(
    "body",
    [
        lambda b, x: b.add(relax.op.matmul(b.add(relax.op.nn.gelu(x)), const(8, 3))),
        lambda b, x: b.add(relax.op.matmul(b.add(relax.op.add(x, relax.const(np.float32(2)))), const(8, 3))),
        lambda b, x: b.add(relax.op.matmul(x, b.add(relax.op.permute_dims(x)))),
        _norm,
    ],
)
def test_leaves_alone(body, caplog):
    mod = module({"x": (5, 8)}, body)
    assert readers_of_norms(mod) == {}
    assert Smooth(())(mod).same_as(mod)
    assert "smooth has no effect" in caplog.text


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_alpha(alpha):
    with pytest.raises(TvmqError, match="from 0 to 1"):
        Smooth((), alpha=alpha)
