"""The hashes of what a model compiles to: equal for equal code, and a line for each kernel that differs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tvmq.bench import kernel_hashes
from tvmq.bench.datasets import Split
from tvmq.bench.subjects import Model, Subject

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


@pytest.fixture(scope="module")
def digits() -> Subject:
    images = np.load(DIGITS / "calibration.npz")["image"][:2]
    model = Model("digits", "digits.onnx", "image", lambda root, limit: Split(images, images, None))
    return Subject(model, DIGITS / "digits.onnx", Split(images, images, None))


def test_hashes_are_of_kernels_and_integers(digits: Subject) -> None:
    found = kernel_hashes.hashes_of(digits, "int8", "llvm -mcpu=znver3")
    assert found == kernel_hashes.hashes_of(digits, "int8", "llvm -mcpu=znver3")
    brighter = dataclasses.replace(digits, data=Split(digits.data.calibration * 2, digits.data.samples, None))
    other = kernel_hashes.hashes_of(brighter, "int8", "llvm -mcpu=znver3")
    assert found.keys() == other.keys() and found["constants"] != other["constants"]
    assert set(kernel_hashes.hashes_of(digits, "int8", "llvm -mcpu=znver4").values()) != set(found.values())


def test_differences() -> None:
    before = {"a": {"conv": "1", "pool": "2", "old": "3"}, "not run again": {"conv": "1"}}
    after = {"a": {"conv": "1", "pool": "9", "new": "3"}}
    assert kernel_hashes.differences(before, after) == [
        "a: old is gone",
        "a: new is new",
        "a: pool is another",
    ]
    assert kernel_hashes.differences(after, after) == []


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [(None, 2, "No such file"), ("{", 2, "Expecting"), ("{}", 2, "unknown model 'nope'")],
)
def test_bad_input(
    content: str | None, code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hashes.json"
    if content is not None:
        file.write_text(content)
    assert kernel_hashes.main(["--compare", str(file), "--models", "nope"]) == code
    assert message in capsys.readouterr().err
