"""One layer from its moments: how far earlier errors are made up for, and layers that are wide."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from tvm import relax

from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.hub.graph import bindings_of
from tvmq.passes.hub.pairs import float_form, weight_pairs
from tvmq.passes.hub.schemes import Scheme
from tvmq.passes.improve import gram, round_layer
from tvmq.passes.improve.gram import Blocks
from tvmq.passes.improve.round_layer import rounded
from tvmq.passes.improve.rounding import RoundWeights

from ..modules import const, module, random
from .test_blocks import mixed
from .test_rounding import LOW, _distance, _quantized


@pytest.mark.parametrize(("count", "expected"), [(4, 1.0), (4_000, 0.75), (4_000_000, 0.5)])
def test_errors_are_made_up_for_as_far_as_samples_tell(count, expected):
    """Inputs that arrive twice as large want weights that are half as large."""
    mod = _quantized(lambda b, x: b.add(relax.op.nn.conv2d(x, const(6, 4, 1, 1))), Scheme("int8"))
    (pair,) = weight_pairs(mod)
    call = next(item.value for item in bindings_of(mod) if item.var.same_as(pair.readers[0]))
    one, mean = np.eye(4)[None], np.zeros((1, 4))
    moments = SimpleNamespace(
        count=count,
        covariance=4 * one,
        cross_covariance=2 * one,
        means=(mean, mean),
        blocks=Blocks(length=4, count=1),
    )
    new = rounded(pair, [(call, moments)], RoundWeights(mixed()), None)
    restored = new.integers * new.scales[:, None, None, None]
    np.testing.assert_allclose(restored, expected * pair.values, atol=0.01 * np.abs(restored).max())


WIDE = 40


def _wide(scheme=LOW):
    """A matrix product with many inputs, neighbours of which go together, and samples for it."""
    rng = np.random.default_rng(3)
    arrays = [np.repeat(rng.standard_normal((3, WIDE // 2)), 2, axis=1).astype("float32") for _ in range(12)]
    samples = [{"x": array + 0.1 * random(3, WIDE, seed=seed)} for seed, array in enumerate(arrays)]
    mod = module({"x": (3, WIDE)}, lambda b, x: b.add(relax.op.matmul(x, const(WIDE, 6)), "wide"))
    return Calibrate(samples)(Annotate(scheme)(mod)), samples


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_wide_layer_is_rounded_in_blocks(monkeypatch, caplog, per_channel):
    mod, samples = _wide(dataclasses.replace(LOW, edge_bits=3, per_channel=per_channel))
    whole = RoundWeights(samples)(mod)
    monkeypatch.setattr(gram, "ELEMENTS", WIDE * 14)
    monkeypatch.setattr(round_layer, "AT_ONCE", 2 * WIDE)
    assert Blocks.of(1, WIDE) == Blocks(WIDE, 3) and Blocks(WIDE, 3).size == 14
    blocks = RoundWeights(samples)(mod)
    assert (
        "layer 'wide' has 40 weights a channel: their correlations are taken within 3 blocks of 14"
        in caplog.text
    )
    (pair,) = weight_pairs(blocks)
    assert pair.scales.size == (6 if per_channel else 1)
    errors = [_distance(each, float_form(mod), samples) for each in (mod, blocks, whole)]
    # What matters goes together in pairs, which no block parts: the blocks do nearly what the whole does.
    assert errors[1] < 0.8 * errors[0] and errors[1] < 1.5 * errors[2]


def test_rows_some_at_a_time_are_the_rows(monkeypatch):
    mod, samples = _wide()
    (whole,) = weight_pairs(RoundWeights(samples)(mod))
    monkeypatch.setattr(round_layer, "AT_ONCE", 2 * WIDE)
    (parts,) = weight_pairs(RoundWeights(samples)(mod))
    np.testing.assert_array_equal(parts.integers, whole.integers)
    np.testing.assert_array_equal(parts.scales, whole.scales)
