"""``tvmc compile --quantize mixed`` with a budget, and accuracy control from labelled data."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tvmq.config.config import read_config
from tvmq.runtime.archive import read_metadata

FEW = ("--search-candidates", "4,8", "--search-samples", 2, "--search-trials", 1, "--rounding", "nearest")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(8, 3, 3, 3)), "v": rng.normal(size=(8 * 36, 4))}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
            helper.make_node("Flatten", ["c"], ["f"], name="flat"),
            helper.make_node("MatMul", ["f", "v"], ["y"], name="head"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    folder = tmp_path_factory.mktemp("model")
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    x = rng.normal(size=(6, 3, 8, 8)).astype(np.float32)
    np.savez(folder / "samples.npz", x=x)
    columns = np.stack(
        [x[:, :, row : row + 6, column : column + 6] for row in range(3) for column in range(3)]
    )
    taps = weights["w"].astype(np.float32).reshape(8, 3, 9)
    scores = np.einsum("knchw,ock->nohw", columns, taps).reshape(6, -1) @ weights["v"].astype(np.float32)
    np.savez(folder / "labelled.npz", x=x, labels=scores.argmax(1))
    return path


def _flags(model, tmp_path, *flags):
    samples = model.with_name("samples.npz")
    return ("compile", model, "--calibration-data", samples, "--output", tmp_path / "a.tar", *flags)


def _bits(package):
    layers = read_metadata(package)["layers"]
    return {
        layer["name"]: layer["details"]["weight_bits"]
        for layer in layers
        if "weight_bits" in layer["details"]
    }


def test_a_budget_and_what_was_found(tvmc, model, tmp_path):
    found, state = tmp_path / "found.toml", tmp_path / "search.json"
    budget = ("--bit-budget", "5bits", "--search-output", found, "--search-state", state)
    result = tvmc(*_flags(model, tmp_path, "--quantize", "mixed", *budget, *FEW))
    assert result.code == 0, result.err
    assert state.exists()
    bits = _bits(tmp_path / "a.tar")
    assert bits == {"conv": 4, "head": 4} == read_config(found).options.bits
    result = tvmc(*_flags(model, tmp_path, "--config", found))
    assert result.code == 0, result.err
    assert _bits(tmp_path / "a.tar") == bits


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--quantize", "mixed", "--bit-budget", "2bits"),
            "the smallest that can be kept is 684B, or 4bits, with layers of 4 bits",
        ),
        (("--quantize", "mixed", "--bit-budget", "4"), "must be such as '4.0bits'"),
        (
            ("--quantize", "int8", "--bit-budget", "4bits"),
            "no effect with the scheme 'int8', only with 'mixed'",
        ),
        (("--quantize", "mixed", "--max-drop", "1"), "--max-drop has no effect without --accuracy-data"),
        (("--quantize", "int8", "--accuracy-output", "y"), "has no effect without --accuracy-data"),
        (("--bit-budget", "4bits"), "has no effect without --quantize"),
        (("--quantize", "int8", "--accuracy-data", "none.txt"), "'none.txt' do not exist"),
    ],
)
def test_bad_input(tvmc, model, tmp_path, flags, message):
    few = FEW if "mixed" in flags and "4" not in flags else ()
    result = tvmc(*_flags(model, tmp_path, *flags, *few))
    assert result.code == 1 and message in result.err
    assert not (tmp_path / "a.tar").exists()


def test_accuracy_is_kept(tvmc, model, tmp_path):
    labelled = model.with_name("labelled.npz")
    flags = ("--quantize", "int8", "--accuracy-data", labelled, "--max-drop", 0)
    result = tvmc(*_flags(model, tmp_path, *flags))
    assert result.code == 0, result.err
    assert result.out.startswith("top-1: 100.00 %, float 100.00 %\n")
    result = tvmc(*_flags(model, tmp_path, "--quantize", "mixed", "--accuracy-data", labelled, *FEW))
    assert result.code == 0, result.err
    assert set(_bits(tmp_path / "a.tar").values()) <= {4, 8}


def test_the_state_and_samples_of_accuracy_control(tvmc, model, tmp_path):
    labelled, state = model.with_name("labelled.npz"), tmp_path / "state.json"
    flags = ("--quantize", "int8", "--accuracy-data", labelled, "--max-drop", 100)
    assert tvmc(*_flags(model, tmp_path, *flags, "--search-samples", 2, "--search-state", state)).code == 0
    measured = json.loads(state.read_text())["measurements"]
    assert [name.split()[-1] for name in measured] == ["float", "quantized"]
    result = tvmc(*_flags(model, tmp_path, *flags, "--search-trials", 3))
    assert result.code == 1
    assert "options of the search have no effect with the scheme 'int8'" in result.err


def test_labels_that_are_no_classes(tvmc, model, tmp_path):
    np.savez(tmp_path / "bad.npz", x=np.zeros((2, 3, 8, 8), np.float32), labels=[0, 4])
    result = tvmc(*_flags(model, tmp_path, "--quantize", "int8", "--accuracy-data", tmp_path / "bad.npz"))
    assert result.code == 1
    assert "the label 4 is none of the model's 4 classes, from 0 on" in result.err
