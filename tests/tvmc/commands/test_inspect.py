"""``tvmc inspect`` over a small package."""

from __future__ import annotations

import dataclasses
import json

from tvmq.report.files import METADATA
from tvmq.report.records import TensorRecord
from tvmq.runtime.archive import read_metadata, write


def test_json_is_the_package_s_own(tvmc, package_path):
    result = tvmc("inspect", package_path, "--json")
    assert result.code == 0
    assert json.loads(result.out) == read_metadata(package_path)


def test_tables(tvmc, package_path):
    result = tvmc("inspect", package_path)
    assert result.code == 0
    rows = [" ".join(line.split()) for line in result.out.splitlines()]
    assert "scheme int8" in rows
    assert "target llvm -mcpu=generic" in rows
    assert "layers 1 int8, 1 float, 1 folded" in rows
    assert "x [2,3] float32" in rows
    assert "n:0 [1] int64" in rows
    assert "[bold] [2,3] float32" in rows
    assert "conv[1] Conv int8 0.01235, 3 uint8, 0.5, 128 [4,3,1,1], 8, 12 0.001 .. 0.25" in rows
    assert "soft max Softmax float no integer kernel" in rows
    assert "bn BatchNormalization folded fused into conv[1]" in rows


def test_a_package_for_another_machine(tvmc, package_path, tmp_path):
    metadata = {**read_metadata(package_path), "arch": "riscv64"}
    write(tmp_path / "other.tar", metadata, b"no code for this machine")
    assert "architecture riscv64" in " ".join(tvmc("inspect", tmp_path / "other.tar").out.split())
    result = tvmc("run", tmp_path / "other.tar")
    assert result.code == 1
    assert "is compiled for riscv64; this machine is" in result.err


def with_errors(package_path, path):
    """Write a package that holds the table of a report of two tensors."""
    tensors = {
        "columns": [field.name for field in dataclasses.fields(TensorRecord)],
        "rows": [[*_figures("conv[1]", 40.0, 30.0)], [*_figures("soft max", 20.0, None)]],
    }
    outputs = {
        "columns": ["name", "cosine", "sqnr", "max_error", "same_argmax"],
        "rows": [["sum/of:0", 0.99, 21.0, 0.5, None]],
    }
    metadata = {**read_metadata(package_path), METADATA: {"tensors": tensors, "outputs": outputs}}
    write(path, metadata, b"")
    return path


def _figures(layer, sqnr, accumulated):
    values = {"layer": layer, "kind": "activation", "bits": 8, "sqnr": sqnr, "accumulated_sqnr": accumulated}
    return [values.get(field.name, 0) for field in dataclasses.fields(TensorRecord)]


def test_errors_worst_first(tvmc, package_path, tmp_path):
    result = tvmc("inspect", with_errors(package_path, tmp_path / "a.tar"), "--errors")
    assert result.code == 0
    rows = [" ".join(line.split()) for line in result.out.splitlines()]
    assert "sum/of:0 0.99000 21.0 0.5" in rows
    shown = [row for row in rows if " activation " in row]
    assert [row[:27] for row in shown] == ["soft max activation 8 20.0 ", "conv[1] activation 8 40.0 3"]


def test_a_package_without_errors_says_how_to_get_them(tvmc, package_path, tmp_path):
    result = tvmc("inspect", package_path, "--errors")
    assert result.code == 1
    assert "holds no table of errors: make it with tvmc compile --quantize ... --report DIR" in result.err
    result = tvmc("inspect", tmp_path, "--errors")
    assert result.code == 1
    assert "is no report: cannot read 'outputs.csv' in it" in result.err


def test_errors_and_json_exclude_each_other(tvmc, package_path):
    assert tvmc("inspect", package_path, "--errors", "--json").code == 2
