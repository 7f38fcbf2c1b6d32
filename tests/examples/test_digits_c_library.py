"""C libraries of the example, for several machines, give the package's bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tvmq
from tvmq.targets import host

EXAMPLE = Path(__file__).parents[2] / "examples/digits"
IMAGE = np.load(EXAMPLE / "test.npz")["image"][:1]
TARGETS = {
    "x86_64": "llvm -mtriple=x86_64-linux-gnu -mcpu=x86-64-v3",
    "aarch64": "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72",
    "arm": "llvm -mtriple=arm-linux-gnueabihf -mcpu=cortex-a7",
}


@pytest.fixture(params=TARGETS)
def target(request, c_tools):
    c_tools(request.param)
    if request.param == "x86_64" and host.missing_features("x86_64", ["avx2", "fma"]):
        pytest.skip("it compiles, and cannot run here")
    return TARGETS[request.param]


@pytest.fixture(scope="module", params=["int8", "int4", "weight-only"])
def quantized(request):
    return tvmq.quantize(EXAMPLE / "digits.onnx", request.param, calibration=EXAMPLE / "calibration.npz")


def test_same_scores(quantized, target, run_c_library):
    expected = tvmq.compile(quantized).run({"image": IMAGE})["scores"]
    library = tvmq.compile_c_library(quantized, target, name="digits")
    scores = run_c_library(library, {"image": IMAGE})["scores"]
    if quantized.scheme == "weight-only":
        # Sums of float32 in another order, with or without fused multiply-adds.
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    else:
        np.testing.assert_array_equal(scores, expected)
    assert library.metadata["bytes"]["code"] < 30_000
    assert library.metadata["bytes"]["workspace"] < 64_000
