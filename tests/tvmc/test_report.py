"""``tvmc compile --report`` to files and into the package, and ``tvmc inspect --errors`` from both; the gate."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tvmq.report.files import read_csv
from tvmq.runtime.archive import read_metadata

HERE = "llvm -mcpu=native"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="a conv"),
            helper.make_node("Relu", ["c"], ["y"], name="relu"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 6])],
        [numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    np.savez(path.with_suffix(".npz"), x=np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype("float32"))
    return path


def test_report(tvmc, model, tmp_path):
    package, folder = tmp_path / "a.tar", tmp_path / "report"
    samples = model.with_suffix(".npz")
    flags = ("--target", HERE, "--quantize", "int8", "--calibration-data", samples)
    result = tvmc("compile", model, *flags, "--output", package, "--report", folder)
    assert result.code == 0, result.err
    assert sorted(path.name for path in folder.iterdir()) == [
        "layers.csv",
        "outputs.csv",
        "report.html",
        "tensors.csv",
    ]
    rows = read_csv(folder, "tensors")
    assert [(row["layer"], row["kind"]) for row in rows] == [("x", "input"), ("a conv", "weights")]
    layers = {row["layer"]: row for row in read_csv(folder, "layers")}
    assert float(layers["a conv"]["milliseconds"]) > 0
    assert int(layers["a conv"]["weight_bytes"]) == 4 * 27
    assert set(read_metadata(package)["errors"]) == {"tensors", "outputs"}
    of_package, of_folder = tvmc("inspect", package, "--errors"), tvmc("inspect", folder, "--errors")
    assert of_package.code == of_folder.code == 0
    assert of_package.out == of_folder.out
    assert "a conv" in of_package.out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--report has no effect without --quantize"),
        (("--quantize", "int8"), "--report needs --calibration-data"),
    ],
)
def test_what_a_report_needs(tvmc, model, tmp_path, flags, message):
    result = tvmc("compile", model, *flags, "--output", tmp_path / "a.tar", "--report", tmp_path / "report")
    assert result.code == 1
    assert message in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tvmc, model, tmp_path):
    (tmp_path / "file").write_text("")
    flags = ("--quantize", "int8", "--calibration-data", model.with_suffix(".npz"))
    result = tvmc("compile", model, *flags, "--output", tmp_path / "a.tar", "--report", tmp_path / "file")
    assert result.code == 1
    assert "cannot write" in result.err
    assert not (tmp_path / "a.tar").exists()


def test_a_model_that_is_refused_leaves_no_folder(tvmc, model, tmp_path):
    np.savez(tmp_path / "other.npz", y=np.zeros((2, 3), np.float32))
    flags = ("--quantize", "int8", "--calibration-data", tmp_path / "other.npz")
    result = tvmc("compile", model, *flags, "--output", tmp_path / "a.tar", "--report", tmp_path / "a" / "b")
    assert result.code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["other.npz"]


def test_how_near_to_float_is_printed_and_kept(tvmc, model, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("tvmq.api.float_outputs", None)  # what the calibration gave is kept
    package = tmp_path / "a.tar"
    flags = (
        "--quantize",
        "int8",
        "--calibration-data",
        model.with_suffix(".npz"),
        "--min-output-cosine",
        0.98,
    )
    result = tvmc("compile", model, *flags, "--output", package)
    assert result.code == 0, result.err
    line = result.out.splitlines()[0]
    assert line.startswith("cosine to float on 3 samples: y ")
    assert caplog.messages == []
    assert read_metadata(package)["against_float"]["outputs"][0]["cosine"] > 0.99
    assert line in " ".join(tvmc("inspect", package).out.split())


@pytest.mark.parametrize(
    ("flags", "advice"),
    [
        ((), "--report DIR says which layers are to blame"),
        (("--report", "report"), "first of all for layer 'a conv': its weights keep only"),
    ],
)
def test_a_package_that_is_far_from_float(tvmc, model, tmp_path, monkeypatch, caplog, flags, advice):
    monkeypatch.chdir(tmp_path)
    coarse = (
        "--quantize",
        "w4a8",
        "--layer-bits",
        "a conv=2",
        "--calibration-data",
        model.with_suffix(".npz"),
    )
    result = tvmc("compile", model, *coarse, *flags)
    assert result.code == 0
    (message,) = caplog.messages
    assert message.startswith("output 'y' has a cosine of only 0.") and advice in message
    (tmp_path / "model.tar").unlink()
    result = tvmc("compile", model, *coarse, *flags, "--min-output-cosine", "0.99")
    assert result.code == 1
    assert "at least 0.99 is wanted; no package is written" in result.err
    assert not (tmp_path / "model.tar").exists()


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ((), 1, "--min-output-cosine has no effect without --quantize"),
        (("--quantize", "int8"), 1, "--min-output-cosine needs --calibration-data"),
        (
            ("--quantize", "int8", "--min-output-cosine", "1.5"),
            2,
            "'1.5' must be a number above 0, and at most 1",
        ),
        (("--min-output-cosine", "much"), 2, "'much' must be a number above 0"),
    ],
)
def test_what_the_gate_needs(tvmc, model, tmp_path, flags, code, message):
    output = ("--output", tmp_path / "a.tar")
    result = tvmc("compile", model, *output, "--min-output-cosine", "0.9", *flags)
    assert result.code == code
    assert message in result.err
    assert list(tmp_path.iterdir()) == []
