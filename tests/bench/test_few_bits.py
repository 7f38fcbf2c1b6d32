"""The bench of few bits: its models are what they are called, and its table has them all."""

from __future__ import annotations

import numpy as np
import pytest

import tvmq
from tvmq.bench import few_bits
from tvmq.bench.few_bits import DEFAULT, KINDS, model_of
from tvmq.bench.operators import NODE, OPERATORS, Operator

SMALL = (Operator("", 6, 16, 32), Operator("", 4, 16, 32, kernel=3))


def test_operators_are_known():
    assert set(DEFAULT) <= set(OPERATORS)


@pytest.mark.parametrize("operator", SMALL, ids=["matmul", "conv"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_models(operator, kind):
    package = tvmq.compile(model_of(operator, kind), "llvm -mcpu=haswell")
    (layer,) = [layer for layer in package.metadata["layers"] if layer["name"] == NODE]
    expected = {32: "float", 1: "binary"}.get(kind.weight_bits, "int8")
    assert layer["status"] == expected
    if expected != "float":
        assert layer["details"]["weight_bits"] == kind.weight_bits
    shape = package.metadata["inputs"][0]["shape"]
    kernels = [call for call in package.profile({"x": np.zeros(shape, np.float32)}, 1) if NODE in call.layers]
    assert len(kernels) == 1  # no change of layout is counted


def test_the_command(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(OPERATORS, "small", SMALL[0])
    arguments = [
        "--operators",
        "small",
        "--kinds",
        "int8",
        "binary",
        "--rounds",
        "1",
        "--output",
        str(tmp_path / "t"),
    ]
    assert few_bits.main([*arguments, "--target", "llvm -mcpu=haswell"]) == 0
    assert "binary" in capsys.readouterr().out
    assert "| small |" in (tmp_path / "t.md").read_text()
    assert few_bits.main(["--kinds", "int9"]) == 1
    assert "unknown kind 'int9'" in capsys.readouterr().err
