"""Bits by how far rounding moves the weights, and the search for how far it may."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.annotate.mixed_bits import CANDIDATES, fewest_bits, rounded
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.hub.bits import get_bits
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.improve.tune_mixed_bits import LARGEST, SMALLEST, TuneMixedBits
from tvmq.targets.hardware import Hardware

from ..modules import const, module, random

WEIGHT = random(16, 32)
GRID = np.arange(-7, 8, dtype=np.float32)[None]  # 4 bits hold it exactly
SHAPE = (1, 4, 6, 6)


def test_rounding_by_channel_and_by_tensor():
    rows = np.concatenate([GRID, GRID / 100])
    np.testing.assert_allclose(rounded(rows, 0, 4, per_channel=True), rows, rtol=1e-6)
    np.testing.assert_allclose(
        rounded(rows, 0, 4, per_channel=False), np.concatenate([GRID, 0 * GRID]), rtol=1e-6
    )


def test_the_fewest_bits_that_are_enough():
    assert fewest_bits(GRID, 0, 1e-6, True, CANDIDATES) == 4
    assert fewest_bits(GRID, 0, 0.05, True, (8, 6, 5)) == 5
    assert fewest_bits(GRID, 0, 1e-6, True, (2, 3)) == 3  # none is enough
    assert fewest_bits(np.zeros((2, 2), np.float32), 0, 0.02, True, CANDIDATES) == 2


def test_a_larger_scale_means_fewer_bits():
    found = [fewest_bits(WEIGHT, 0, scale, True, CANDIDATES) for scale in (SMALLEST, 0.02, 0.1, LARGEST)]
    assert found == sorted(found, reverse=True)
    assert found[0] == 8 and found[-1] == 2


def net():
    def body(b, x):
        first = b.add(
            relax.op.nn.conv2d(x, relax.const(random(4, 4, 3, 3, seed=3)), padding=1), "first", "Conv"
        )
        second = b.add(
            relax.op.nn.conv2d(first, relax.const(GRID[0, :4].reshape(1, 4, 1, 1))), "second", "Conv"
        )
        return b.add(relax.op.nn.conv2d(second, const(2, 1, 1, 1)), "third", "Conv")

    return module({"x": SHAPE}, body)


def weights(mod):
    bits = get_bits(mod)
    return {name: bits.of_weights(name) for name in ("first", "second", "third")}


def annotate(**options):
    return Annotate(get_scheme("int8"), None, QuantizeOptions(weight_bits=0, **options))(net())


def test_each_layer_gets_its_own_bits():
    found = weights(annotate(mixed_start_scale=0.02))
    assert found["third"] == 2  # one weight a channel
    assert found["first"] in (6, 7) and found["second"] < found["first"]
    assert get_bits(annotate()).of_activation("first") == 8


def test_what_the_user_says_of_a_layer_counts():
    assert weights(annotate(bits={"first": 3}))["first"] == 3
    assert weights(annotate(bits={"fi*": (5, 8)}))["first"] == 5


def test_the_hardware_has_its_own_widths():
    npu = Hardware("npu", ("Conv",), (4, 8), (8,), ("channel",), ("asymmetric",))
    assert set(weights(annotate(hardware=npu)).values()) <= {4, 8}


def samples(count=4):
    return [{"x": random(*SHAPE, seed=seed)} for seed in range(count)]


def tune(cosine):
    options = QuantizeOptions(weight_bits=0, mixed_auto_tune=True)
    return weights(TuneMixedBits(get_scheme("int8"), None, options, samples(), cosine)(net()))


def test_the_search_keeps_the_cosine():
    strict, loose = tune(0.9999), tune(0.9)
    assert sum(loose.values()) < sum(strict.values())
    assert all(loose[name] <= strict[name] for name in strict)


def test_a_bound_that_nothing_keeps_takes_the_most_bits(caplog):
    options = {"mixed_start_scale": SMALLEST}
    assert tune(1.1) == weights(annotate(**options))
    assert "no mixed bits keep a cosine of 1.1" in caplog.text


def test_wrong_options():
    with pytest.raises(TvmqError, match="mixed_start_scale must be between 0 and 1, got 1.5"):
        QuantizeOptions(weight_bits=0, mixed_start_scale=1.5)
    with pytest.raises(TvmqError, match="mixed_auto_tune has no effect unless weight_bits is 0"):
        QuantizeOptions(mixed_auto_tune=True)
    with pytest.raises(TvmqError, match="mixed_start_scale has no effect unless weight_bits is 0"):
        QuantizeOptions(mixed_start_scale=0.1)
    with pytest.raises(TvmqError, match="weight_bits must be from 0 to 16, got 17"):
        QuantizeOptions(weight_bits=17)
    with pytest.raises(TvmqError, match="no calibration samples"):
        TuneMixedBits(get_scheme("int8"), None, QuantizeOptions(weight_bits=0), [])(net())
