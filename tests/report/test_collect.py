"""A small network: the figures of its report against the same in NumPy, and what cannot be reported."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import tvmq
from tvmq.api import QuantizedModel
from tvmq.errors import TvmqError
from tvmq.passes.hub.pairs import activation_pairs, weight_pairs
from tvmq.report.compiled import with_times
from tvmq.report.records import LayerRecord
from tvmq.runtime.recorder import KernelTime

from .networks import convolutions, random, two_outputs

SAMPLES = [{"x": random(1, 4, 8, 8, seed=seed)} for seed in range(6)]


@pytest.fixture(scope="module")
def quantized() -> QuantizedModel:
    return tvmq.quantize(convolutions(), calibration=SAMPLES)


@pytest.fixture(scope="module")
def report(quantized):
    return quantized.report(SAMPLES)


def of(report, layer: str, kind: str):
    (found,) = [item for item in report.tensors if (item.layer, item.kind) == (layer, kind)]
    return found


def test_all_tensors_in_graph_order(report, quantized):
    names = [(item.layer, item.kind) for item in report.tensors]
    assert len(report.bars) == len(names)
    assert names[:3] == [("x", "input"), ("first", "weights"), ("first", "activation")]
    stages = quantized.stages
    assert len(names) == len(activation_pairs(stages.simulated)) + len(weight_pairs(stages.simulated))
    assert [item.layer for item in report.layers] == [layer.name for layer in quantized.layers]
    assert report.samples == len(SAMPLES)


def test_an_input_s_figures(report, quantized):
    values = np.concatenate([sample["x"] for sample in SAMPLES]).astype(np.float64)
    found = of(report, "x", "input")
    pair = next(pair for pair in activation_pairs(quantized.mod) if pair.name == "x")
    integers = np.clip(np.rint(values / pair.scale) + pair.zero_point, 0, 255)
    error = (integers - pair.zero_point) * pair.scale - values
    assert (found.min, found.max) == (values.min(), values.max())
    assert found.mean == pytest.approx(values.mean(), abs=1e-6)
    assert (found.scale, found.zero_point, found.bits) == (pair.scale, pair.zero_point, 8)
    # A value half way between two integers may go either way in float32.
    assert found.sqnr == pytest.approx(10 * np.log10((values**2).sum() / (error**2).sum()), abs=0.02)
    # Nothing went wrong before it.
    assert found.accumulated_sqnr == pytest.approx(found.sqnr, abs=1e-3)


def test_weights_figures(report, quantized):
    (pair,) = [pair for pair in weight_pairs(quantized.stages.simulated) if pair.name == "first"]
    values = pair.values.astype(np.float64)
    found = of(report, "first", "weights")
    assert found.sqnr == pytest.approx(10 * np.log10((values**2).sum() / (pair.error**2).sum()), abs=1e-3)
    assert found.scales == 4
    assert found.scale == pair.scales.max()
    assert found.accumulated_sqnr is None


def test_errors_accumulate(report):
    sqnr = [item.accumulated_sqnr for item in report.tensors if item.kind == "activation"]
    for item in report.tensors:
        if item.kind == "activation":
            assert item.accumulated_sqnr < item.sqnr + 0.1
    assert min(sqnr) > 25
    (output,) = report.outputs
    assert 20 < output.sqnr < 60
    # Of a softmax, whose results are at most 1.
    assert 0 < output.max_error < 0.5
    assert output.cosine > 0.999


def test_the_reference_is_the_user_s_model(quantized):
    """Biases that were corrected belong to the simulation, not to what it is compared with."""
    exact = quantized.stages.exact
    assert all(pair.is_unknown for pair in activation_pairs(exact))
    assert not any(pair.is_unknown for pair in activation_pairs(quantized.stages.simulated))


def test_operands_of_the_sum(report):
    layers = {layer.layer: layer for layer in report.layers}
    large, small = layers["sum"].operands
    assert small == pytest.approx(max(np.abs(sample["x"]).max() for sample in SAMPLES))
    assert large > small
    assert layers["first"].operands == ()
    assert layers["softmax"].status == "float"
    assert layers["softmax"].reason


def test_histograms_count_the_same_values(report):
    for bars in report.bars:
        assert sum(bars.before) == sum(bars.after) > 0
        assert bars.low < bars.high


def test_limit_and_generator(quantized):
    assert quantized.report((sample for sample in SAMPLES), limit=2).samples == 2


def test_times_where_the_package_runs_here(quantized):
    package = tvmq.compile(quantized)
    layers = {layer.layer: layer for layer in quantized.report(SAMPLES, limit=1, package=package).layers}
    assert layers["first"].milliseconds > 0
    assert layers["relu"].milliseconds is None
    assert layers["first"].weight_bytes == 4 * 4 * 9


def test_a_package_for_another_machine_has_no_times(quantized):
    package = tvmq.compile(quantized)
    package.metadata["arch"] = "riscv64"
    layers = quantized.report(SAMPLES, limit=1, package=package).layers
    assert all(layer.milliseconds is None for layer in layers)


def test_times_count_for_the_layer_that_others_are_fused_into():
    layers = [
        LayerRecord("relu", "Relu", "int8", fused_into="conv"),
        LayerRecord("conv", "Conv", "int8"),
        LayerRecord("pool", "MaxPool", "int8"),
    ]
    times = [
        KernelTime("a", ("relu", "conv"), 1e-3),
        KernelTime("b", ("conv",), 2e-3),
        KernelTime("c", (), 1),
    ]
    assert [layer.milliseconds for layer in with_times(layers, times)] == [None, pytest.approx(3.0), None]


def test_a_model_that_came_quantized(quantized):
    came = QuantizedModel(quantized.mod, "int8")
    found = came.report(SAMPLES)
    assert {item.kind for item in found.tensors} == {"input", "activation"}
    assert of(found, "x", "input").sqnr == pytest.approx(of(quantized.report(SAMPLES), "x", "input").sqnr)


@pytest.mark.parametrize(
    ("samples", "limit", "message"),
    [
        ([], None, "there are no samples"),
        (SAMPLES, 0, "limit of 0"),
        ([{"y": SAMPLES[0]["x"]}], None, "unknown input"),
        ([{"x": SAMPLES[0]["x"][:, :2]}], None, "expected shape"),
        ([{"x": np.full((1, 4, 8, 8), np.nan, np.float32)}], None, "NaN"),
    ],
)
def test_bad_samples(quantized, samples, limit, message):
    with pytest.raises(TvmqError, match=message):
        quantized.report(samples, limit=limit)


def test_records_are_plain_values(report):
    for item in [*report.tensors, *report.outputs, *report.layers]:
        for value in dataclasses.astuple(item):
            assert value is None or type(value) in (int, float, str, tuple)


def test_several_outputs():
    samples = [{"x": random(3, 8, seed=seed)} for seed in range(3)]
    report = tvmq.quantize(two_outputs(), calibration=samples).report(samples)
    assert [(item.name, item.same_argmax is None) for item in report.outputs] == [
        ("narrow", True),
        ("wide", False),
    ]
