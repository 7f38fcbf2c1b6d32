"""``tvmc`` on TFLite files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import tvmq
from tests.frontends.tflite.models import integers
from tests.frontends.tflite.writer import Writer


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A product of int8 data and weights."""
    w = Writer()
    x = w.input("x", (2, 6), "int8", 0.05, 3)
    weight = w.constant(integers("int8", 4, 6), "int8", scale=0.02)
    y = w.op("FULLY_CONNECTED", [x, weight, -1], w.tensor("net/dense;net/bias", (2, 4), "int8", 0.1, -7))
    return w.save(tmp_path / "model.tflite", [y])


def test_it_compiles_both_ways(tvmc, model: Path, tmp_path: Path):
    results = []
    for flags in ((), ("--tflite-exact",)):
        result = tvmc("compile", model, *flags, "--output", tmp_path / "model.tar")
        assert result.code == 0, result.err
        assert "layers: 1 int8" in result.out + result.err
        (got,) = tvmq.load(tmp_path / "model.tar").run({"x": integers("int8", 2, 6)}).values()
        results.append(got.astype(int))
    assert np.abs(results[0] - results[1]).max() <= 1


def test_it_is_written_as_onnx(tvmc, model: Path, tmp_path: Path):
    result = tvmc("quantize", model, "--quantize", "int8", "--output", tmp_path / "qdq.onnx")
    assert result.code == 0, result.err
    refused = tvmc(
        "quantize", model, "--tflite-exact", "--quantize", "int8", "--output", tmp_path / "exact.onnx"
    )
    assert refused.code != 0 and "(--tflite-exact) cannot be written as ONNX" in refused.err
    written = onnx.load(tmp_path / "qdq.onnx")
    assert [value.name for value in written.graph.output] == ["net/dense;net/bias"]


def test_exactness_is_refused_for_onnx(tvmc, tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(b"")
    result = tvmc("compile", tmp_path / "model.onnx", "--tflite-exact")
    assert result.code != 0 and "(--tflite-exact) are for TFLite models, and this is none" in result.err


def test_a_truncated_file_is_named(tvmc, model: Path):
    model.write_bytes(model.read_bytes()[:200])
    result = tvmc("compile", model)
    assert result.code != 0 and "'" + str(model) + "'" in result.err and "Traceback" not in result.err
