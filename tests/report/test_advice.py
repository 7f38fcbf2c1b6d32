"""Each rule: the symptom that it names, and the near miss that it leaves alone."""

from __future__ import annotations

import pytest

from tvmq.report.advice import remedy_for, with_advice
from tvmq.report.records import WEIGHTS, LayerRecord
from tvmq.report.report import Report

from .synthetic import tensor


def advice(tensors=(), **layer) -> tuple[str, ...]:
    record = LayerRecord("conv", "Conv", **{"status": "int8", **layer})
    (found,) = with_advice(Report("int8", 1, list(tensors), [], [record], [])).layers
    return tuple(map(str, found.advice))


@pytest.mark.parametrize(
    ("changes", "near_miss", "text"),
    [
        ({"clip_rate": 0.02}, {"clip_rate": 0.009}, "2 % of its values are clipped"),
        ({"max": 40.0, "sqnr": 20.0}, {"max": 40.0, "sqnr": 26.0}, "40 standard deviations"),
        ({"spread": 40.0, "sqnr": 20.0}, {"spread": 7.0, "sqnr": 20.0}, "largest is 40x the median one"),
        ({"sqnr": 12.0, "bits": 4}, {"sqnr": 16.0, "bits": 4}, "more than 4 bits"),
        ({"sqnr": 12.0}, {"sqnr": 16.0}, "--skip-layers"),
        (
            {"bias_share": 0.5, "accumulated_sqnr": 20.0},
            {"bias_share": 0.5, "accumulated_sqnr": 31.0},
            "50 % of the squared error",
        ),
    ],
)
def test_activations(changes, near_miss, text):
    (found,) = advice([tensor(**changes)])
    assert text in found
    assert advice([tensor(**near_miss)]) == ()
    assert advice() == ()


@pytest.mark.parametrize(
    ("changes", "near_miss", "text"),
    [
        ({"spread": 9.0, "scales": 1}, {"spread": 9.0}, "weights differ 9x"),
        ({"sqnr": 18.0, "bits": 4}, {"sqnr": 26.0, "bits": 4}, "more than 4 bits"),
    ],
)
def test_weights(changes, near_miss, text):
    (found,) = advice([tensor(kind=WEIGHTS, **changes)])
    assert text in found
    assert advice([tensor(kind=WEIGHTS, **near_miss)]) == ()


def test_inputs_that_differ_in_range():
    assert advice(operands=(0.5, 20.0)) == ("inputs differ 40x in range; skip it or equalize",)
    assert advice(operands=(4.0, 20.0)) == ()
    assert advice(operands=(0.0, 20.0)) == ()
    assert advice(operands=(0.5, 20.0), status="float") == ()


def test_a_second_tensor_of_a_layer_counts_for_it():
    (found,) = advice([tensor("conv:2", clip_rate=0.02)])
    assert "clipped" in found


@pytest.mark.parametrize(
    ("scheme", "text"),
    [
        ("int8", "try --observer mse, --equalize, --rounding hessian; --accuracy-data puts"),
        ("w4a8", "try --rounding reconstruct, --layer-bits with more for single layers"),
        ("mixed", "try a larger budget or --min-cosine"),
        ("weight-only", "try --weight-bits of more, or a --group-size; --report"),
    ],
)
def test_what_to_try_for_a_scheme(scheme, text):
    assert remedy_for(scheme).startswith(text)


def test_what_to_try_for_the_worst_layer():
    tensors = [tensor(layer="a", sqnr=14.0), tensor(layer="b", sqnr=10.0), tensor(layer="c", sqnr=5.0)]
    layers = [LayerRecord(name, "Conv", "int8") for name in "ab"]
    report = with_advice(Report("int8", 1, tensors, [], layers, []))
    assert remedy_for(
        "int8", report
    ) == "first of all for layer 'b': rounding leaves 10 dB of what it gives; " + (
        "--skip-layers keeps what reads it in float"
    )
    assert remedy_for("int8", Report("int8", 1, [], [], [], [])) == remedy_for("int8")
