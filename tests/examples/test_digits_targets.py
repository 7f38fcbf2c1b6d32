"""Quantized models, compiled for several machines, give the same bits on each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tvmq
from tvmq.errors import TvmqError
from tvmq.runtime.metadata import refuse_other_machines

EXAMPLE = Path(__file__).parents[2] / "examples/digits"
CORTEX_A72 = "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72"
IMAGES = np.load(EXAMPLE / "test.npz")["image"][:4]


MODELS = [
    ("digits", "int8"),
    ("digits", "int4"),
    ("digits", "w4a4"),
    ("digits", "int2"),
    ("digits", "binary"),
    ("binary", "int8"),
]


@pytest.fixture(scope="module", params=MODELS, ids="-".join)
def quantized(request):
    name, scheme = request.param
    options = tvmq.QuantizeOptions(rounding="nearest")
    return tvmq.quantize(
        EXAMPLE / f"{name}.onnx", scheme, calibration=EXAMPLE / "calibration.npz", options=options
    )


@pytest.fixture(scope="module")
def scores(quantized):
    """The scores on this machine. They are float32: one product an accumulator, which no compiler can contract."""
    package = tvmq.compile(quantized, "llvm -mcpu=native")
    return [package.run({"image": image[None]})["scores"] for image in IMAGES]


@pytest.mark.parametrize("cpu", ["x86-64-v3", "x86-64-v4", "cascadelake", "alderlake"])
def test_same_bits_on_x86(quantized, scores, cpu):
    package = tvmq.compile(quantized, f"llvm -mtriple=x86_64-linux-gnu -mcpu={cpu}")
    try:
        refuse_other_machines(package.metadata, cpu)
    except TvmqError as error:
        pytest.skip(f"it compiles, and cannot run here: {error}")
    for image, expected in zip(IMAGES, scores, strict=True):
        np.testing.assert_array_equal(package.run({"image": image[None]})["scores"], expected)


def test_same_bits_on_arm(quantized, scores, run_on_arm, tmp_path):
    options = tvmq.CompileOptions(cross_compiler="aarch64-linux-gnu-gcc")
    tvmq.compile(quantized, CORTEX_A72, options=options).export(tmp_path / "arm.tar")
    for image, expected in zip(IMAGES, scores, strict=True):
        outputs = run_on_arm(tmp_path / "arm.tar", {"image": image[None]})
        np.testing.assert_array_equal(outputs["scores"], expected)
