"""Which passes the options ask for, in which order, and which options go together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.passes.annotate.options import BIAS_CORRECTIONS, QuantizeOptions
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.pipeline import CalibrationData, quantization_passes

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


def _names(scheme: str = "int8", **options) -> list[str]:
    data = CalibrationData([])
    passes = quantization_passes(get_scheme(scheme), None, QuantizeOptions(**options), data)
    return [step.info.name.removeprefix("tvmq.") for step in passes]


def test_the_defaults():
    assert _names() == [
        *("FitProducts", "Annotate", "SetParameters", "Calibrate", "SpareLayers", "CorrectBias"),
        "FoldWeights",
    ]
    assert _names("w4a8")[0] == "Annotate" and "FitProducts" in _names("w4a8", activation_scales="dynamic")


def test_what_changes_the_float_model_comes_first():
    names = _names(smooth=0.5, equalize=True, absorb_bias=True)
    assert names[:4] == ["Smooth", "Equalize", "AbsorbBias", "Annotate"]
    assert "Smooth" in _names(smooth=0.0)
    assert (
        _names("w4a4")[:2]
        == ["CenterActivations", "EqualizeActivations"]
        == _names(equalize_activations=0.1)[1:3]
    )
    assert "EqualizeActivations" not in _names("w4a4", equalize_activations=0.0)


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("none", []),
        ("empirical", ["CorrectBias"]),
        ("sequential", ["CorrectBiasSequentially"]),
        ("analytic", ["CorrectBiasFromWeights"]),
        (None, ["CorrectBias"]),
    ],
)
def test_bias_corrections(kind, step):
    assert _names(bias_correction=kind)[5:-1] == step


@pytest.mark.parametrize("kind", BIAS_CORRECTIONS)
def test_a_bias_correction_that_the_rounding_does(kind):
    message = f"bias_correction '{kind}' has no effect: the rounding 'hessian' chooses the biases itself"
    with pytest.raises(TvmqError, match=message):
        _names("w4a8", bias_correction=kind)
    assert "RoundWeights" in _names("w4a8") and "CorrectBias" not in _names("w4a8")
    assert _names("w4a8", rounding="nearest", bias_correction=kind)[-1] == "FoldWeights"


def test_rounding_for_the_blocks_result_takes_the_place_of_that_for_the_layers():
    assert _names("w4a4", rounding="reconstruct")[5:] == ["Reconstruct", "FoldWeights"]
    with pytest.raises(TvmqError, match="the rounding 'reconstruct' chooses the biases itself"):
        _names("w4a4", rounding="reconstruct", bias_correction="empirical")
    with pytest.raises(TvmqError, match="unknown rounding 'reconstuct'; did you mean 'reconstruct'"):
        QuantizeOptions(rounding="reconstuct")


def test_bad_options():
    with pytest.raises(TvmqError, match="unknown bias correction 'sequentiell'; did you mean 'sequential'"):
        QuantizeOptions(bias_correction="sequentiell")
    with pytest.raises(TvmqError, match="unknown kind of scales 'dynamik'; did you mean 'dynamic'"):
        QuantizeOptions(activation_scales="dynamik")
    with pytest.raises(TvmqError, match="activation_scales is 'auto'; it goes with 'static'"):
        QuantizeOptions(activation_scales="auto", smooth=0.5)
    with pytest.raises(TvmqError, match="smooth must be from 0 to 1, got 1.5"):
        QuantizeOptions(smooth=1.5)
    with pytest.raises(TvmqError, match="equalize_activations must be from 0 to 1, got -0.1"):
        QuantizeOptions(equalize_activations=-0.1)


def test_all_methods_together_on_a_real_model():
    images = np.load(DIGITS / "calibration.npz")["image"][:8]
    samples = [{"image": image[None]} for image in images]
    seen = []

    class Bar:
        def __init__(self, name: str, total: int | None):
            seen.append(name)

        def __enter__(self):
            return self

        def __exit__(self, *failure):
            return None

        def update(self, count: int) -> None:
            seen.append(count)

    options = QuantizeOptions(equalize=True, absorb_bias=True, observer="lapq", bias_correction="sequential")
    quantized = tvmq.quantize(
        DIGITS / "digits.onnx", target="llvm", calibration=samples, options=options, progress=Bar
    )
    exact, given = (tvmq.compile(model, "llvm") for model in (DIGITS / "digits.onnx", quantized))
    for sample in samples:
        wanted, found = (package.run(sample)["scores"].ravel() for package in (exact, given))
        assert wanted @ found / np.linalg.norm(wanted) / np.linalg.norm(found) > 0.999
    # Every pass over the samples shows its progress.
    assert [item for item in seen if isinstance(item, str)] == [
        "absorb biases",
        "calibrate",
        "see distributions",
        "clip by the loss",
        "look for layers to spare",
        "correct biases",
    ]
    assert sum(item for item in seen if isinstance(item, int)) > 5 * len(samples)


def test_without_samples(tmp_path):
    """Scales from outside and biases from the weights need none."""
    images = np.load(DIGITS / "calibration.npz")["image"][:4]
    samples = [{"image": image[None]} for image in images]
    options = QuantizeOptions(calibration_cache=tmp_path / "c.json", bias_correction="analytic")
    first = tvmq.quantize(DIGITS / "digits.onnx", target="llvm", calibration=samples, options=options)
    again = tvmq.quantize(DIGITS / "digits.onnx", target="llvm", options=options)
    assert again.layers == first.layers
    with pytest.raises(TvmqError, match="no calibration samples to correct biases"):
        tvmq.quantize(
            DIGITS / "digits.onnx",
            target="llvm",
            options=QuantizeOptions(calibration_cache=tmp_path / "c.json"),
        )


def _dynamic(samples, **options) -> list[str]:
    passes = quantization_passes(
        get_scheme("dynamic"), None, QuantizeOptions(**options), CalibrationData(samples)
    )
    return [step.info.name.removeprefix("tvmq.") for step in passes]


def test_a_dynamic_scheme_without_samples_looks_at_no_values():
    assert _dynamic(()) == ["Annotate", "SetParameters", "Calibrate", "FoldWeights"]
    assert _dynamic([{}])[3:] == ["CorrectBias", "FoldWeights"]
    assert _dynamic((), bias_correction="analytic")[3:] == ["CorrectBiasFromWeights", "FoldWeights"]


@pytest.mark.parametrize(
    "options",
    [
        {"observer": "mse"},
        {"rounding": "hessian"},
        {"smooth": 0.5},
        {"equalize": True},
        {"bias_correction": "empirical"},
        {"float_below": 20.0},
    ],
    ids=str,
)
def test_options_that_need_samples(options):
    (name,) = options
    message = f"{name} needs calibration samples, which the scheme 'dynamic' goes without"
    with pytest.raises(TvmqError, match=message):
        _dynamic((), **options)
    assert _dynamic([{}], **options)
