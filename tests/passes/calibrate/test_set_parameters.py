"""Parameters from outside reach the pairs that they name, the others are calibrated; other models' are refused."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
from tvm import relax

import tvmq
from tvmq.errors import TvmqError
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.calibrate.set_parameters import SetParameters, WriteParameters, parameters_of
from tvmq.passes.hub.calibration_cache import (
    Activation,
    CalibrationCache,
    Range,
    Weights,
    read_cache,
    write_cache,
)
from tvmq.passes.hub.fingerprint import fingerprint
from tvmq.passes.hub.pairs import activation_pairs, weight_pairs
from tvmq.passes.hub.schemes import get_scheme

from ..modules import const, module, random

SHAPE = (1, 4, 6, 6)
SAMPLES = [{"x": random(*SHAPE, seed=seed)} for seed in range(3)]


def _float(seed=1):
    def body(b, x):
        first = b.add(relax.op.nn.conv2d(x, const(4, 4, 3, 3, seed=seed)), "c1")
        return b.add(relax.op.nn.conv2d(b.add(relax.op.nn.relu(first), "relu"), const(2, 4, 3, 3)), "c2")

    return module({"x": SHAPE}, body)


def _annotated(scheme="int8", seed=1, **options):
    return Annotate(get_scheme(scheme), None, QuantizeOptions(**options))(_float(seed))


def _set(mod, activations=None, weights=None, model=""):
    return SetParameters(CalibrationCache(activations or {}, weights or {}, model))(mod)


def _activations(mod):
    return {pair.name: (pair.scale, pair.zero_point) for pair in activation_pairs(mod)}


def test_named_tensors_are_fixed_and_the_others_calibrated():
    mod = _set(_annotated(), {"c1": Activation(0.25, 7)}, {"c2": Weights((0.5, 0.125))})
    assert [pair.name for pair in activation_pairs(mod) if pair.is_unknown] == ["x"]
    assert [pair.name for pair in weight_pairs(mod) if pair.is_unknown] == ["c1"]
    alone, both = Calibrate(SAMPLES)(_annotated()), Calibrate(SAMPLES)(mod)
    assert _activations(both) == {"x": _activations(alone)["x"], "c1": (0.25, 7)}
    c1, c2 = weight_pairs(both)
    assert c2.scales.tolist() == [0.5, 0.125] and np.array_equal(c1.scales, weight_pairs(alone)[0].scales)
    expected = np.clip(np.rint(c2.values / np.array([0.5, 0.125]).reshape(2, 1, 1, 1)), -127, 127)
    np.testing.assert_array_equal(c2.integers, expected)


def test_one_scale_for_all_channels():
    mod = _set(_annotated(), weights={"c1": Weights((0.5,))})
    assert weight_pairs(mod)[0].scales.tolist() == [0.5] * 4


def test_what_is_set_last_wins():
    mod = _set(_annotated(), {"x": Activation(0.5, 1), "c1": Activation(0.25, 2)})
    assert _activations(_set(mod, {"x": Activation(1.5, 3)})) == {"x": (1.5, 3), "c1": (0.25, 2)}


def test_a_range():
    mod = _set(_annotated(), {"x": Range(-1.0, 4.1)})
    assert _activations(mod)["x"] == (pytest.approx(5.1 / 255), 50)


@pytest.mark.parametrize(("stored", "expected"), [("uint8", 100), ("int8", 228)])
def test_a_zero_point_of_the_other_dtype_is_moved(stored, expected):
    mod = _set(_annotated(), {"x": Activation(0.5, 100, stored)})
    assert _activations(mod)["x"] == (0.5, expected)


def test_what_is_written_and_read_is_the_same_model(tmp_path):
    path = tmp_path / "c.json"
    mod = WriteParameters(path)(Calibrate(SAMPLES)(_annotated()))
    again = SetParameters(read_cache(path))(_annotated())
    assert Calibrate([])(again) is not None  # nothing is unknown, so no sample is asked for
    assert _activations(again) == _activations(mod)
    for old, new in zip(weight_pairs(mod), weight_pairs(again), strict=True):
        np.testing.assert_array_equal(old.scales, new.scales)
        np.testing.assert_array_equal(old.integers, new.integers)


def test_unknown_parameters_are_not_written():
    written = parameters_of(_set(_annotated(), {"c1": Activation(0.25, 7)}))
    assert written.activations == {"c1": Activation(0.25, 7, "uint8", 8)} and not written.weights


@pytest.mark.parametrize(
    ("activations", "weights", "message"),
    [
        ({"c1:2": Activation(1.0, 0)}, {}, "unknown quantized activation 'c1:2'; did you mean 'c1'"),
        ({"p": Activation(1.0, 0), "q": Activation(1.0, 0)}, {}, "'p'; valid: c1, x; nor are there 'q'$"),
        (dict.fromkeys("pqrstuv", Activation(1.0, 0)), {}, "; nor are there 'q', 'r', 's', 't' and 2 more$"),
        ({}, {"c3": Weights((1.0,))}, "unknown quantized weights 'c3'; did you mean 'c"),
        ({"x": Activation(1.0, 256)}, {}, "the zero point of 'x' must be from 0 to 255, got 256"),
        ({"x": Activation(1.0, 0, bits=4)}, {}, "'x' is for 4 bits, but has 8 here"),
        ({}, {"c2": Weights((1.0,), 4)}, "'c2' is for 4 bits, but has 8 here"),
        ({}, {"c2": Weights((1.0,) * 3)}, "the weights of 'c2' need 2 scales, or one for all, got 3"),
    ],
)
def test_what_does_not_fit(activations, weights, message):
    with pytest.raises(TvmqError, match=message):
        _set(_annotated(), activations, weights)


def test_a_cache_of_another_model():
    cache = parameters_of(Calibrate(SAMPLES)(_annotated()))
    with pytest.raises(TvmqError, match="^parameters from outside: it is of another model"):
        SetParameters(cache)(_annotated(seed=2))
    unsigned = dataclasses.replace(cache, model="")
    assert _activations(SetParameters(unsigned)(_annotated(seed=2))) == _activations(
        SetParameters(cache)(_annotated())
    )


def test_messages_name_the_file(tmp_path):
    path = tmp_path / "c.json"
    write_cache(path, CalibrationCache({"p": Activation(1.0, 0)}))
    with pytest.raises(TvmqError, match=f"^calibration cache '{path}': unknown quantized activation 'p'"):
        SetParameters(read_cache(path))(_annotated())


def test_a_layer_that_stays_in_float_now_is_left_out(caplog):
    cache = parameters_of(Calibrate(SAMPLES)(_annotated()))
    with caplog.at_level(logging.WARNING):
        mod = SetParameters(cache)(_annotated(skip_layers=("c2",)))
    assert [pair.name for pair in weight_pairs(mod)] == ["c1"] and "c2" in caplog.text


def test_the_fingerprint_is_that_of_the_float_model():
    plain = fingerprint(_float())
    assert plain == fingerprint(_annotated()) == fingerprint(Calibrate(SAMPLES)(_annotated("w4a4")))
    assert plain != fingerprint(_float(seed=2))


def test_quantize_writes_the_file_once_and_reads_it(tmp_path):
    path = tmp_path / "c.json"
    options = QuantizeOptions(calibration_cache=path, bias_correction="none")
    first = tvmq.quantize(_float(), calibration=SAMPLES, options=options)
    written = path.read_bytes()
    second = tvmq.quantize(_float(), options=options)
    assert path.read_bytes() == written
    assert (
        _activations(second.mod)
        == _activations(first.mod)
        == {
            name: (np.float32(record.scale), record.zero_point)
            for name, record in read_cache(path).activations.items()
        }
    )


def test_parameters_from_python_win_over_the_file(tmp_path):
    options = QuantizeOptions(calibration_cache=tmp_path / "c.json", bias_correction="none")
    tvmq.quantize(_float(), calibration=SAMPLES, options=options)
    mine = CalibrationCache({"c1": Activation(0.75, 1)})
    model = tvmq.quantize(_float(), options=dataclasses.replace(options, parameters=mine))
    assert _activations(model.mod)["c1"] == (0.75, 1)


def test_an_incomplete_file_needs_samples():
    options = QuantizeOptions(parameters=CalibrationCache({"c1": Activation(0.75, 1)}))
    with pytest.raises(TvmqError, match="there are no calibration samples to calibrate"):
        tvmq.quantize(_float(), options=options)
