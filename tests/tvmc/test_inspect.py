"""``tvmc inspect`` over a small package."""

from __future__ import annotations

import json

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
