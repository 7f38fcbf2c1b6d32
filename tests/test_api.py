"""The public functions together, on the digits example."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax

import tvmq
from tvmq.errors import TvmqError
from tvmq.frontends.onnx import load_onnx
from tvmq.passes.annotate.annotate import Annotate
from tvmq.passes.annotate.options import QuantizeOptions
from tvmq.passes.calibrate.calibrate import Calibrate
from tvmq.passes.hub.schemes import get_scheme
from tvmq.passes.improve.bias_correction import CorrectBias
from tvmq.passes.prepare.prepare import Prepare
from tvmq.passes.realize.fold_weights import FoldWeights
from tvmq.passes.realize.layout import Layout
from tvmq.passes.realize.realize import Realize
from tvmq.schedules.pipeline import build
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target

DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits"
TARGET = "llvm -mcpu=native"


@pytest.fixture(scope="module")
def images():
    """Calibration images of the example, float32 (n, 1, 8, 8)."""
    return np.load(DIGITS / "calibration.npz")["image"]


@pytest.fixture(scope="module")
def quantized(images):
    samples = ({"image": image[None]} for image in images)  # a generator, read once
    return tvmq.quantize(DIGITS / "digits.onnx", scheme="int8", target=TARGET, calibration=samples)


def test_quantize_compile_export_load_run(quantized, images, tmp_path):
    package = tvmq.compile(quantized, target=TARGET)
    package.export(tmp_path / "model.tar")
    loaded = tvmq.load(tmp_path / "model.tar")
    feed = {"image": images[:1]}
    np.testing.assert_array_equal(loaded.run(feed)["scores"], package.run(feed)["scores"])
    assert loaded.metadata["scheme"] == "int8"
    assert {layer.status for layer in quantized.layers if layer.op == "Conv"} == {"int8"}


def test_the_passes_one_by_one_give_the_same_integers(quantized, images):
    target = parse_target(TARGET)
    row = row_of(target)
    samples = [{"image": image[None]} for image in images]
    passes = tvm.transform.Sequential(
        [
            Prepare(),
            Annotate(get_scheme("int8"), row, QuantizeOptions()),
            Calibrate(samples),
            CorrectBias(samples),
            FoldWeights(),
            Layout(),
            Realize(row),
        ]
    )
    built = build(passes(load_onnx(DIGITS / "digits.onnx")), target, row)
    main = relax.VirtualMachine(built.executable, tvm.cpu())["main"]
    expected = tvmq.compile(quantized, TARGET).run({"image": images[:1]})["scores"]
    # Calibration ran on another compiler's float kernels, whose sums differ in their last bits.
    np.testing.assert_allclose(main(tvm.runtime.tensor(images[:1])).numpy(), expected, atol=0.1)


def test_how_many_threads_share_the_work_does_not_show(quantized, images):
    results = [
        tvmq.compile(quantized, f"{TARGET} -num-cores={cores}").run({"image": images[:1]})["scores"]
        for cores in (1, 2)
    ]
    np.testing.assert_array_equal(*results)


def test_a_relax_module_is_a_model(quantized, images):
    mod = load_onnx(DIGITS / "digits.onnx")
    again = tvmq.quantize(mod, target=TARGET, calibration=[{"image": image[None]} for image in images])
    feed = {"image": images[:1]}
    np.testing.assert_array_equal(
        tvmq.compile(again, TARGET).run(feed)["scores"], tvmq.compile(quantized, TARGET).run(feed)["scores"]
    )


def test_a_float_model_without_samples_is_refused():
    with pytest.raises(TvmqError, match="needs calibration samples"):
        tvmq.quantize(DIGITS / "digits.onnx", target=TARGET)


def test_an_unknown_scheme_is_refused_with_the_valid_ones():
    with pytest.raises(TvmqError, match="did you mean 'int8'"):
        tvmq.quantize(DIGITS / "digits.onnx", scheme="int18", target=TARGET, calibration=[])


def test_a_name_that_the_package_does_not_have():
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        _ = tvmq.quantise
    assert "quantize" in dir(tvmq)
