"""``tvmc quantize``: a Q/DQ file that compiles to the same integers, and everything it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

DIGITS = Path(__file__).parents[3] / "examples" / "digits"
MODEL, SAMPLES = DIGITS / "digits.onnx", DIGITS / "calibration.npz"


def test_the_same_integers_come_back(tvmc, tmp_path):
    how = ("--quantize", "int8", "--calibration-data", SAMPLES)
    result = tvmc("quantize", MODEL, *how, "-o", tmp_path / "qdq.onnx")
    assert result.code == 0 and result.out.startswith(f"{tmp_path}/qdq.onnx: ") and "int8" in result.out
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(tmp_path / "qdq.onnx").graph.node}
    scores = []
    for name, model, flags in (("first", MODEL, how), ("again", tmp_path / "qdq.onnx", ())):
        assert tvmc("compile", model, *flags, "-o", tmp_path / f"{name}.tar").code == 0
        run = ("--inputs", DIGITS / "sample.npz", "--outputs", tmp_path / f"{name}.npz")
        assert tvmc("run", tmp_path / f"{name}.tar", *run).code == 0
        with np.load(tmp_path / f"{name}.npz") as file:
            scores.append(file[file.files[0]])
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([MODEL], "--quantize is missing"),
        ([MODEL, "--quantize", "int8", "-o", "nowhere/a.onnx"], "cannot write 'nowhere/a.onnx'"),
        ([MODEL, "--quantize", "int8", "-o", MODEL], "it is the input"),
        ([MODEL, "--quantize", "int9"], "int9"),
        ([MODEL, "--quantize", "int8", "--output-format", "qop"], "invalid choice: 'qop'"),
        (["none.onnx", "--quantize", "int8"], "does not exist"),
    ],
)
def test_refused(tvmc, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = tvmc("quantize", *arguments)
    assert result.code in (1, 2) and message in result.err
    assert not list(tmp_path.iterdir())


def test_operators_on_integers(tvmc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    how = ("--quantize", "int8", "--calibration-data", SAMPLES, "--output-format", "qoperator")
    result = tvmc("quantize", MODEL, *how)
    assert result.code == 0 and result.out.startswith("digits_qoperator.onnx: ")
    assert "QLinearConv" in {
        node.op_type for node in onnx.load(tmp_path / "digits_qoperator.onnx").graph.node
    }


def test_compressed_weights_have_no_form(tvmc, tmp_path):
    result = tvmc("quantize", MODEL, "--quantize", "weight-only", "-o", tmp_path / "small.onnx")
    assert result.code == 1 and "cannot be written as ONNX: it is a kernel" in result.err
    assert not list(tmp_path.iterdir())
