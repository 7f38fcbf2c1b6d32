"""Blocks that learn: nearer to float than rounding alone, within all limits, the same each time."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.hub.lane_sums import largest_sums, runs_of
from tvmq.passes.hub.pairs import activation_pairs, float_form, weight_pairs
from tvmq.passes.hub.parameters import weight_limits
from tvmq.passes.hub.schemes import Scheme
from tvmq.passes.improve.reconstruct import Reconstruct
from tvmq.passes.improve.rounding import RoundWeights
from tvmq.passes.improve.training import Learning
from tvmq.targets.row import LaneSums

from ..modules import const, module, random
from .test_blocks import SHAPE, _conv, _inverted_residual, _network, mixed
from .test_rounding import _distance

LOW = Scheme("w3a4", weight_bits=3, activation_bits=4, edge_bits=3)
QUICK = Learning(steps=100, batch=8)


def _quantized(body=_network, scheme=LOW, shape=SHAPE, samples=None):
    return Calibrate(samples or mixed())(Annotate(scheme)(module({"x": shape}, body)))


def _two(b, x):
    """Two layers that are one block."""
    wide = b.add(relax.op.nn.relu(_conv(b, x, 12, 4, "first")), "relu")
    return _conv(b, wide, 6, 12, "second")


def _long(b, x):
    """Two sections, of two blocks each."""
    for place in range(4):
        x = _inverted_residual(b, x, f"block{place}")
    return x


def test_nearer_to_float_than_rounding_alone_on_other_samples():
    mod, train, test = _quantized(), mixed(16), mixed(8, seed=50)
    reference = float_form(mod)
    # Of 16 small samples weights learn slowly.
    rounded, learned = (
        RoundWeights(train)(mod),
        Reconstruct(train, dataclasses.replace(QUICK, steps=300))(mod),
    )
    assert _distance(learned, reference, test) < 0.9 * _distance(rounded, reference, test)
    for pair in weight_pairs(learned):
        low, high = weight_limits(pair.bits)
        assert low <= pair.integers.min() and pair.integers.max() <= high
    for old, new in zip(activation_pairs(mod), activation_pairs(learned), strict=True):
        assert (old.name, old.zero_point, old.dtype) == (new.name, new.zero_point, new.dtype)
        assert 0.2 < new.scale / old.scale < 5.0


def test_the_same_each_time():
    mod, train = _quantized(_two), mixed()
    once, again = Reconstruct(train, QUICK)(mod), Reconstruct(train, QUICK)(mod)
    for old, new in zip(weight_pairs(once), weight_pairs(again), strict=True):
        np.testing.assert_array_equal(old.integers, new.integers)
        np.testing.assert_array_equal(old.scales, new.scales)
    other = Reconstruct(train, dataclasses.replace(QUICK, seed=1))(mod)
    assert any(
        (old.scales != new.scales).any()
        for old, new in zip(weight_pairs(once), weight_pairs(other), strict=True)
    )


def test_powers_of_two_stay_such():
    mod = _quantized(_two, dataclasses.replace(LOW, power_of_two=True))
    learned = Reconstruct(mixed(), QUICK)(mod)
    for old, new in zip(activation_pairs(mod), activation_pairs(learned), strict=True):
        assert old.scale == new.scale
    for pair in weight_pairs(learned):
        assert (np.frexp(pair.scales)[0] == 0.5).all()


def test_what_has_8_bits_is_only_rounded():
    mod, samples = _quantized(_two, Scheme("w4a4", weight_bits=4, activation_bits=4)), mixed()
    assert {pair.bits for pair in (*weight_pairs(mod), *activation_pairs(mod))} == {8}
    for old, new in zip(
        weight_pairs(RoundWeights(samples)(mod)), weight_pairs(Reconstruct(samples, QUICK)(mod)), strict=True
    ):
        np.testing.assert_array_equal(old.integers, new.integers)


def test_sums_in_a_lane_keep_their_limit():
    limit = 9
    scheme = Scheme("w5a4", weight_bits=5, activation_bits=4, edge_bits=5, lane_sums=LaneSums(limit))
    mod = _quantized(_two, scheme)
    learned = Reconstruct(mixed(), QUICK)(mod)
    for pair in weight_pairs(learned):
        assert 0 < largest_sums(runs_of(pair.integers, pair.axis), LaneSums(limit)).max() <= limit


def test_a_weight_that_two_layers_read():
    weight = const(4, 4, 1, 1)

    def body(b, x):
        first = b.add(relax.op.nn.relu(b.add(relax.op.nn.conv2d(x, weight), "first")), "relu")
        wide = _conv(b, first, 12, 4, "wide")
        return b.add(
            relax.op.add(_conv(b, wide, 4, 12, "narrow"), b.add(relax.op.nn.conv2d(first, weight), "second"))
        )

    mod, samples = _quantized(body), mixed(24)
    learned = Reconstruct(samples, QUICK)(mod)
    shared = weight_pairs(learned)[0]
    assert len(shared.readers) == 2 and shared.bits == 3
    reference, test = float_form(mod), mixed(40, seed=50)
    assert _distance(learned, reference, test) < 0.9 * _distance(mod, reference, test)


def test_large_images_are_seen_in_parts():
    shape = (1, 4, 40, 64)
    samples = [{"x": random(*shape, seed=seed)} for seed in range(4)]
    mod = _quantized(_two, shape=shape, samples=samples)
    reference = float_form(mod)
    learned = Reconstruct(samples, QUICK)(mod)
    assert _distance(learned, reference, samples) < _distance(RoundWeights(samples)(mod), reference, samples)


def test_a_block_without_gradients_is_rounded_and_says_so(caplog):
    def body(b, x):
        narrow = _conv(b, x, 4, 4, "first")
        gate = b.add(relax.op.sigmoid(_conv(b, narrow, 12, 4, "second")), "gate")
        return _conv(b, gate, 6, 12, "third")

    mod, samples = _quantized(body), mixed()
    with caplog.at_level(logging.INFO, "tvmq.passes.improve.reconstruct"):
        learned = Reconstruct(samples, QUICK)(mod)
    assert any("is only rounded: no gradient of sigmoid of layer 'gate'" in text for text in caplog.messages)
    assert any("the section of layer 'first', alone: error" in text for text in caplog.messages)
    assert [pair.name for pair in weight_pairs(learned)] == ["first", "second", "third"]


def test_errors_that_go_on_are_learned_first():
    """Twelve layers are two sections; of these, the first learns with the second behind it."""
    mod, train, test = _quantized(_long), mixed(16), mixed(8, seed=50)
    reference = float_form(mod)
    alone, ahead = (Reconstruct(train, dataclasses.replace(QUICK, ahead=steps))(mod) for steps in (0, 150))
    assert _distance(ahead, reference, test) < 0.95 * _distance(alone, reference, test)


def test_no_section_looks_ahead_of_an_operator_without_a_gradient(caplog):
    def body(b, x):
        gate = b.add(relax.op.sigmoid(_long(b, x)), "gate")
        return _conv(b, gate, 6, 4, "last")

    mod, samples = _quantized(body), mixed()
    with caplog.at_level(logging.INFO, "tvmq.passes.improve.reconstruct"):
        Reconstruct(samples, Learning(steps=2, ahead=2))(mod)
    stages = [text.split(":")[0] for text in caplog.messages if "error" in text]
    assert stages[:2] == [
        f"the section of layer 'block0.expand', {stage}" for stage in ("alone", "and what follows")
    ]


@pytest.mark.parametrize("body", [_two, _long])
def test_the_progress_bar_comes_to_its_end(body):
    class Bar:
        def __init__(self, description, total):
            self.total, self.count = total, 0

        def __enter__(self):
            return self

        def __exit__(self, *ignored):
            assert self.count == self.total
            bars.append(self)

        def update(self, count):
            self.count += count

    bars: list[Bar] = []
    Reconstruct(mixed(), Learning(steps=5, ahead=3), progress=Bar)(_quantized(body))
    assert len(bars) == 1


def test_bad_input():
    mod, samples = _quantized(_two), mixed(2)
    with pytest.raises(TvmqError, match="steps of learning must be at least 1, got 0"):
        Learning(steps=0)
    with pytest.raises(TvmqError, match="ahead of learning must be at least 0, got -1"):
        Learning(ahead=-1)
    with pytest.raises(TvmqError, match="batch of learning must be at least 1, got -2"):
        Learning(batch=-2)
    with pytest.raises(TvmqError, match="drop must be at least 0 and less than 1, got 1.0"):
        Learning(drop=1.0)
    with pytest.raises(TvmqError, match="damping must be a positive number, got 0"):
        Reconstruct(samples, damping=0)(mod)
    with pytest.raises(TvmqError, match="no calibration samples"):
        Reconstruct([])(mod)
    with pytest.raises(TvmqError, match="calibration sample 1, input 'x': holds NaN or infinity"):
        Reconstruct([samples[0], {"x": np.full(SHAPE, np.nan, "float32")}])(mod)
    with pytest.raises(TvmqError, match="needs pairs whose scales are known, and that of value 'x' is not"):
        Reconstruct(samples)(Annotate(LOW)(float_form(mod)))
