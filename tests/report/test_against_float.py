"""A package beside the float model: what is compared, where it runs, and what a wrong package looks like."""

from __future__ import annotations

import json

import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.passes.calibrate.kept_outputs import SAMPLES
from tvmq.report.nearness import AgainstFloat
from tvmq.runtime.metadata import decode, encode

from .networks import heads, samples

OUTPUTS = ("boxes", "scores", "classes", "x")


@pytest.fixture(scope="module")
def quantized():
    return tvmq.quantize(heads(*OUTPUTS), calibration=iter(samples(10)))


@pytest.fixture(scope="module")
def package(quantized):
    return tvmq.compile(quantized)


class Other:
    """A package with outputs of its own."""

    def __init__(self, package, change):
        self.metadata, self._run, self._change = package.metadata, package.run, change

    def run(self, sample):
        return self._change(self._run(sample))


def test_the_float_outputs_of_the_calibration_are_kept(quantized, package, monkeypatch):
    assert len(quantized.float_outputs.pairs) == SAMPLES
    monkeypatch.setattr(tvmq.api, "run_on_host", None)  # the float model need not run again
    found = quantized.against_float(package)
    assert found.samples == SAMPLES and found.is_package
    assert found.target == package.metadata["target"]
    boxes, scores, classes, x = found.outputs
    assert (boxes.name, boxes.same) == ("boxes", None) and boxes.cosine > 0.98
    assert scores.cosine > 0.98 and 0.0 <= scores.same <= 1.0
    assert classes.cosine is None and classes.same == scores.same
    assert x.cosine == pytest.approx(1.0)
    assert found.farthest in (boxes, scores)


def test_other_samples_run_on_the_float_model(quantized, package):
    again = quantized.against_float(package, samples(2))
    assert again.samples == 2
    assert again.outputs[0].cosine == pytest.approx(
        quantized.against_float(package).outputs[0].cosine, abs=0.01
    )
    with pytest.raises(TvmqError, match="calibration sample 0 has no array for input 'x'"):
        quantized.against_float(package, [{}])


def test_without_samples_there_is_nothing_to_compare(package):
    model = tvmq.api.QuantizedModel(None, "int8", None, tvmq.frontends.onnx.load.load_onnx(heads("boxes")))
    assert model.against_float(package) is None


def test_a_wrong_kernel_shows(quantized, package):
    def swapped(outputs):
        return {**outputs, "boxes": outputs["boxes"][:, ::-1]}

    found = quantized.against_float(Other(package, swapped))
    assert found.farthest.name == "boxes" and found.farthest.cosine < 0.9
    with pytest.raises(
        TvmqError, match=r"output 'boxes' has a cosine of .* at least 0.98 is wanted; mend it"
    ):
        found.check(0.98, "mend it")


def test_a_package_for_another_machine_is_compiled_for_this_one(quantized, package):
    metadata = {**package.metadata, "arch": "riscv64", "target": {"kind": "llvm", "mcpu": "sifive-u74"}}
    found = quantized.against_float(tvmq.Package(b"", metadata))
    assert not found.is_package and found.target["mcpu"] != "sifive-u74"
    assert found.outputs == quantized.against_float(package).outputs  # integers are the same everywhere
    assert ", as a package for " in str(found)


def test_the_record_survives_the_package(quantized, package):
    found = quantized.against_float(package)
    metadata = {**package.metadata, "against_float": found.as_metadata()}
    assert AgainstFloat.of_metadata(decode(encode(metadata), "p")["against_float"]) == found
    json.dumps(found.as_metadata())
