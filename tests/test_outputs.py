"""Models of several outputs, of all kinds and sizes, through every scheme, observer, rounding, search and report."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import tvmq
from tvmq import api
from tvmq.passes.annotate.options import BIAS_CORRECTIONS, ROUNDINGS, QuantizeOptions
from tvmq.passes.calibrate.nearness import nearness
from tvmq.passes.calibrate.observers import OBSERVERS, WEIGHT_OBSERVERS
from tvmq.passes.hub.schemes import SCHEMES
from tvmq.passes.improve import tune_mixed_bits
from tvmq.search.accuracy_control import named_run
from tvmq.search.options import SearchOptions

from .report.networks import heads, samples

OUTPUTS = ("features", "boxes", "scores", "total", "classes", "x", "anchors")
KINDS = {"classes": "int64"}
FEW = {"samples": 2, "trials": 1}

# Each value of each option once at least, in as few runs as that takes.
WAYS = {
    "lapq": ("int8", {"observer": "lapq", "bias_correction": "none", "weight_observer": "percentile"}, None),
    "sequential": ("int8", {"observer": "kl", "bias_correction": "sequential", "smooth": 0.5}, None),
    "analytic": ("int8", {"observer": "emd", "bias_correction": "analytic", "weight_observer": "emd"}, None),
    "power of two": (
        "int8",
        {"observer": "outliers", "power_of_two": True, "bias_correction": "empirical"},
        None,
    ),
    "equalized": (
        "w4a8",
        {"observer": "minmax", "rounding": "nearest", "equalize": True, "absorb_bias": True},
        None,
    ),
    "hessian": (
        "w4a4",
        {"observer": "moving-average", "rounding": "hessian", "weight_observer": "mse"},
        None,
    ),
    "reconstruct": ("w4a4", {"observer": "mse", "rounding": "reconstruct"}, None),
    "tuned": ("int8", {"observer": "average-max", "weight_bits": 0, "mixed_auto_tune": True}, None),
    "size": (
        "mixed",
        {"observer": "percentile"},
        SearchOptions(bit_budget="5bits", candidates=(4, 8), **FEW),
    ),
    "cosine": ("mixed", {"rounding": "nearest"}, SearchOptions(min_cosine=0.97, candidates=(4, 8), **FEW)),
    "few bits": ("int4", {"rounding": "nearest"}, None),
    "two bits": ("int2", {}, None),
    "two bits by another name": ("w2a8", {"rounding": "nearest"}, None),
    "two bits everywhere": ("w2a2", {"rounding": "nearest"}, None),
    "ternary": ("ternary", {"rounding": "nearest"}, None),
    "binary": ("binary", {}, None),
    "dynamic": ("dynamic", {}, None),
    "weights": ("weight-only", {"weight_observer": "minmax"}, None),
}


@pytest.fixture(scope="module")
def float_outputs():
    reference = ReferenceEvaluator(heads(*OUTPUTS))
    return [reference.run(None, sample) for sample in samples()]


def test_every_way_is_tried():
    def tried(option):
        return {options.get(option) for _, options, _ in WAYS.values()} - {None}

    assert {scheme for scheme, _, _ in WAYS.values()} == set(SCHEMES)
    assert tried("observer") == set(OBSERVERS)
    assert tried("weight_observer") == set(WEIGHT_OBSERVERS)
    assert tried("rounding") == set(ROUNDINGS)
    assert tried("bias_correction") == set(BIAS_CORRECTIONS)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_all_outputs(way, float_outputs, monkeypatch):
    monkeypatch.setattr(tune_mixed_bits, "TRIALS", 2)
    scheme, options, search = WAYS[way]
    model = tvmq.quantize(
        heads(*OUTPUTS), scheme, calibration=samples(), options=QuantizeOptions(**options), search=search
    )
    run = named_run(model.mod, api.run_on_host)
    results = [run(sample) for sample in samples()]
    assert list(results[0]) == list(OUTPUTS)
    for place, name in enumerate(OUTPUTS):
        assert results[0][name].dtype == KINDS.get(name, "float32")
        assert results[0][name].shape == float_outputs[0][place].shape
    for place, name in enumerate(OUTPUTS):
        if name not in KINDS:
            pairs = ([[outputs[place]] for outputs in float_outputs], [[given[name]] for given in results])
            assert nearness(*pairs) > (0.6 if way == "binary" else 0.9), name


def test_the_integers_and_the_report_have_all_outputs(float_outputs):
    # One value has two names, and one output is the model's first input.
    model = heads("classes", "x", "scores", "boxes", "anchors", "total")
    quantized = tvmq.quantize(model, calibration=samples())
    report = quantized.report(samples())
    assert [output.name for output in report.outputs] == [
        "classes",
        "x",
        "scores",
        "boxes",
        "anchors",
        "total",
    ]
    assert all(output.cosine > 0.98 for output in report.outputs if output.name != "classes")
    outputs = tvmq.compile(quantized).run(samples()[0])
    exact = dict(zip(OUTPUTS, float_outputs[0], strict=True))
    np.testing.assert_array_equal(outputs["x"], exact["x"])
    np.testing.assert_array_equal(outputs["anchors"], exact["anchors"])
    assert outputs["total"].shape == ()
    assert outputs["classes"].dtype == "int64"
    assert nearness([[exact["boxes"]]], [[outputs["boxes"]]]) > 0.98


def test_accuracy_control_sees_all_outputs():
    seen = []

    def metric(run):
        outputs = run(samples()[0])
        seen.append(set(outputs))
        return float(-np.abs(outputs["total"]))

    controlled = tvmq.quantize_with_accuracy_control(
        heads(*OUTPUTS), metric, calibration=samples(2), max_drop=1e9, search=SearchOptions(samples=2)
    )
    assert controlled.holds
    assert seen and all(names == set(OUTPUTS) for names in seen)
