"""The digits example: what it ships, and that quantizing it keeps its accuracy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples/digits"


def test_files_are_small():
    assert (EXAMPLE / "digits.onnx").stat().st_size < 300_000
    assert sum(path.stat().st_size for path in EXAMPLE.glob("*.npz")) < 100_000


def test_the_model_has_something_to_fold_and_to_fuse():
    model = onnx.load(EXAMPLE / "digits.onnx")
    onnx.checker.check_model(model, full_check=True)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("BatchNormalization") == operators.count("Conv") == 5
    assert {"Add", "Relu", "GlobalAveragePool", "Gemm"} <= set(operators)
    groups = [
        attribute.i for node in model.graph.node for attribute in node.attribute if attribute.name == "group"
    ]
    assert max(groups) == 64


def test_samples_fit_the_model_and_do_not_overlap():
    calibration = np.load(EXAMPLE / "calibration.npz")["image"]
    test = np.load(EXAMPLE / "test.npz")
    assert calibration.shape == (100, 1, 8, 8)
    assert test["image"].shape == (797, 1, 8, 8)
    assert test["label"].shape == (797,)
    np.testing.assert_array_equal(np.load(EXAMPLE / "sample.npz")["image"], test["image"][:1])
    seen = {image.tobytes() for image in calibration}
    assert not any(image.tobytes() in seen for image in test["image"])


@pytest.fixture(scope="module")
def report() -> dict[str, float]:
    """The percentages that evaluate.py prints, by the first word of their line."""
    command = [sys.executable, str(EXAMPLE / "evaluate.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {line.split()[0]: float(re.search(r"([\d.]+)%", line)[1]) for line in done.stdout.splitlines()}


def test_accuracy(report):
    # The float model recognizes 787 of the 797; int8 may lose one point, eight images.
    assert report["float:"] == 98.75
    assert report["int8:"] >= 97.75
    assert report["the"] >= 98.75
