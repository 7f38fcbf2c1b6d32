"""Steps that are chosen for the model's output, on one compiled module."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tvm
from tvm import relax

from tvmq.errors import TvmqError
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.calibrate.observers import LOSS_AWARE
from tvmq.passes.calibrate.watch import compile_for_host
from tvmq.passes.hub.graph import rebuild
from tvmq.passes.hub.pairs import activation_pairs, float_form, weight_pairs
from tvmq.passes.hub.schemes import Scheme
from tvmq.passes.hub.steps import arguments, stepped_form, steps_of
from tvmq.passes.improve.loss_aware import LossAwareClip, best_power
from tvmq.passes.pipeline import CalibrationData, calibration_passes

from ..modules import const, module, random

SHAPE = (1, 4, 6, 6)
LOW = Scheme("w8a3", activation_bits=3, edge_bits=3)


def _samples(count: int = 8, seed: int = 0):
    """Return samples with a few large values, that the model below does not look at."""
    arrays = [random(*SHAPE, seed=seed + place) for place in range(count)]
    for array in arrays:
        array[0, 3, 0, :2] = -30.0, 30.0
    return [{"x": array} for array in arrays]


def _network(b, x):
    """The first layer all but ignores channel 3, so that its outliers should be clipped."""
    weight = random(8, 4, 3, 3)
    weight[:, 3] *= 1e-3
    first = b.add(relax.op.nn.conv2d(x, relax.const(weight), padding=1), "first")
    hidden = b.add(relax.op.nn.relu(first), "relu")
    return b.add(relax.op.nn.conv2d(hidden, const(4, 8, 1, 1)), "second")


def _calibrated(observer="minmax", scheme=LOW, body=_network):
    samples = _samples()
    annotated = Annotate(scheme)(module({"x": SHAPE}, body))
    return Calibrate(samples, observer)(annotated)


def _loss(mod: tvm.IRModule, samples) -> float:
    """Return the error of the result with float weights."""
    given, exact = compile_for_host(stepped_form(mod)), compile_for_host(_tuple(float_form(mod)))
    steps = arguments(steps_of(mod))
    pairs = [(given({**sample, **steps})[0], exact(sample)[0]) for sample in samples]
    return sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in pairs)


def _tuple(mod: tvm.IRModule) -> tvm.IRModule:
    return rebuild(mod, lambda builder, var, value: value, result=relax.Tuple([mod["main"].body.body]))


def test_the_output_is_nearer_to_float_than_by_any_own_error():
    better = LossAwareClip(_samples())(_calibrated())
    others = _samples(4, seed=50)
    assert _loss(better, others) < 0.5 * min(_loss(_calibrated(name), others) for name in ("minmax", "mse"))
    assert [pair.name for pair in activation_pairs(better)][0] == "x"
    before = {pair.name: pair.range for pair in activation_pairs(_calibrated())}
    after = {pair.name: pair.range for pair in activation_pairs(better)}
    assert before["x"][1] > 20.0 and after["x"][1] < 10.0
    for old, new in zip(weight_pairs(_calibrated()), weight_pairs(better), strict=True):
        np.testing.assert_array_equal(old.integers, new.integers)


def test_the_stepped_form_is_the_simulation_with_float_weights():
    mod = _calibrated()
    exact = {name: steps.fine for name, steps in steps_of(mod).items()}
    run, reference = compile_for_host(stepped_form(mod)), compile_for_host(_tuple(float_form(mod)))
    (sample,) = _samples(1)
    # Steps of at most 60 / 7 * 2^-12, so errors of half of that, in sums of 72 products, and those once more.
    np.testing.assert_allclose(run({**sample, **arguments(exact)})[0], reference(sample)[0], atol=0.05)
    assert np.abs(run({**sample, **arguments(steps_of(mod))})[0] - reference(sample)[0]).max() > 1.0


def test_what_is_to_stay_stays():
    mod = _calibrated()
    (first, *rest) = activation_pairs(LossAwareClip(_samples(), keep=frozenset({"x"}))(mod))
    assert (first.name, first.scale) == ("x", activation_pairs(mod)[0].scale)
    assert [pair.scale for pair in rest] != [pair.scale for pair in activation_pairs(mod)[1:]]
    everything = frozenset(pair.name for pair in activation_pairs(mod))
    assert LossAwareClip([], keep=everything)(mod).same_as(mod)


def test_what_is_concatenated_keeps_one_scale():
    def body(b, x):
        halves = [
            b.add(relax.op.nn.relu(b.add(relax.op.nn.conv2d(x, const(4, 4, 1, 1, seed=s))))) for s in (1, 2)
        ]
        joined = b.add(relax.op.concat(halves, axis=1), "joined")
        return b.add(relax.op.nn.conv2d(joined, const(4, 8, 1, 1)))

    pairs = activation_pairs(LossAwareClip(_samples(2))(_calibrated(body=body)))
    scales = [pair.scale for pair in pairs if pair.name != "x"]
    assert len(scales) == 3 and len(set(scales)) == 1


def test_it_follows_the_calibration_where_it_is_the_observer():
    data = CalibrationData(_samples())
    names = [
        [step.info.name for step in calibration_passes(LOW, None, QuantizeOptions(observer=name), data)]
        for name in (LOSS_AWARE, "mse")
    ]
    assert names[0][names[0].index("tvmq.Calibrate") + 1] == "tvmq.LossAwareClip"
    assert "tvmq.LossAwareClip" not in names[1]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([1.25, 0.5, 0.25, 0.5, 1.25], 3.0), ([5.0, 4.0, 3.1, 2.3, 1.6], 4.0), ([1.0, 2.0, 2.2, 2.1, 1.1], 2.0)],
)
def test_the_best_power(losses, expected):
    powers = (2.0, 2.5, 3.0, 3.5, 4.0)
    assert best_power(powers, losses) == pytest.approx(expected)


def test_bad_input():
    mod = _calibrated()
    with pytest.raises(TvmqError, match="no calibration samples"):
        LossAwareClip([])(mod)
    with pytest.raises(TvmqError, match="loss_samples must be at least 1, got 0"):
        LossAwareClip([], loss_samples=0)
    with pytest.raises(TvmqError, match="have no scale yet"):
        LossAwareClip(_samples())(Annotate(LOW)(float_form(mod)))
    shifts = dataclasses.replace(LOW, power_of_two=True)
    with pytest.raises(TvmqError, match="must be powers of two"):
        LossAwareClip(_samples())(_calibrated(scheme=shifts))
