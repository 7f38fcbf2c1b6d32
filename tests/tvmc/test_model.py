"""Models and packages of the Python functions, and what of them is on disk."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tvm_ffi

from tvmq import tvmc
from tvmq.errors import TvmqError
from tvmq.passes.hub.layers import get_layers

MODEL = Path(__file__).parents[2] / "examples" / "digits" / "digits.onnx"


@pytest.fixture(scope="module")
def model():
    return tvmc.load(str(MODEL))


def test_summary(model, capsys):
    model.summary()
    assert "R.nn.conv2d(" in capsys.readouterr().out
    file = io.StringIO()
    model.summary(file)
    assert "R.nn.conv2d(" in file.getvalue() and capsys.readouterr().out == ""


def test_saved_and_loaded(model, tmp_path):
    records = Path(model.default_tuning_records_path())
    records.mkdir()
    for name in ("database_workload.json", "database_tuning_record.json", "manifest.json"):
        (records / name).write_text(name)
    Path(model.default_package_path()).write_bytes(b"package")
    model.save(tmp_path / "model.tar")
    loaded = tvmc.TVMCModel(model_path=tmp_path / "model.tar")
    assert tvm_ffi.structural_equal(loaded.mod, model.mod)
    assert get_layers(loaded.mod) == get_layers(model.mod)
    assert loaded.params == {}
    found = Path(loaded.default_tuning_records_path())
    assert found != records
    assert {path.name: path.read_text() for path in found.iterdir()} == {
        path.name: path.name for path in records.iterdir()
    }
    assert Path(loaded.default_package_path()).read_bytes() == b"package"


def test_arrays_of_parameters():
    from tvm import relax

    x, w = (relax.Var(name, relax.TensorType((2,), "float32")) for name in "xw")
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w]):
        with builder.dataflow():
            result = builder.emit_output(relax.op.add(x, w))
        builder.emit_func_output(result)
    model = tvmc.TVMCModel(builder.get(), {"w": np.array([1, 2], np.float32)})
    result = tvmc.run(tvmc.compile(model, "llvm"), inputs={"x": np.array([3, 4], np.float32)})
    np.testing.assert_array_equal(result.get_output("output_0"), [4, 6])


def test_what_is_no_model(tmp_path):
    with pytest.raises(TvmqError, match="a TVMCModel needs a module, or the path of a saved one"):
        tvmc.TVMCModel()
    with pytest.raises(TvmqError, match="cannot read '.*missing.tar': No such file"):
        tvmc.TVMCModel(model_path=tmp_path / "missing.tar")
    (tmp_path / "text").write_text("text")
    with pytest.raises(TvmqError, match="text' is no saved TVMCModel"):
        tvmc.TVMCModel(model_path=tmp_path / "text")
    with tarfile.open(tmp_path / "other.tar", "w") as file:
        file.add(tmp_path / "text", "model.json")
    with pytest.raises(TvmqError, match="other.tar' is no saved TVMCModel"):
        tvmc.TVMCModel(model_path=tmp_path / "other.tar")


def test_a_model_that_cannot_be_written(model, tmp_path):
    with pytest.raises(TvmqError, match="cannot write '.*/no/model.tar': No such file"):
        model.save(tmp_path / "no" / "model.tar")


def test_what_is_no_package(tmp_path):
    with pytest.raises(TvmqError, match="missing.tar does not exist"):
        tvmc.TVMCPackage(tmp_path / "missing.tar")


def test_a_package(digits_path):
    package = tvmc.TVMCPackage(package_path=str(digits_path))
    assert package.package_path == str(digits_path)
    assert package.metadata["inputs"][0]["name"] == "image"
    assert package.library[:4] == b"\x7fELF"
