"""The binary digits network: bits are those of PyTorch, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tvmq

EXAMPLE = Path(__file__).parents[2] / "examples/digits"
MODEL = EXAMPLE / "binary.onnx"
LAYERS = ("first", "second", "third")


@pytest.fixture(scope="module")
def test_set():
    return np.load(EXAMPLE / "test.npz")


def test_files_are_small():
    assert MODEL.stat().st_size < 300_000


def test_bits_and_scores_are_those_of_pytorch(test_set):
    expected = np.load(EXAMPLE / "binary_expected.npz")
    count = len(expected["scores"])
    outputs = [*(f"{layer}/sign:out" for layer in LAYERS), "scores"]
    package = tvmq.compile(MODEL, outputs=outputs)
    results = [package.run({"image": image[None]}) for image in test_set["image"][:count]]
    for layer in LAYERS:
        found = np.concatenate([result[f"{layer}/sign:out"] for result in results])
        np.testing.assert_array_equal(found, expected[layer])
    scores = np.concatenate([result["scores"] for result in results])
    np.testing.assert_allclose(scores, expected["scores"], atol=1e-4)


def test_bits_on_gpus_are_those_of_pytorch(gpu_target, test_set):
    expected = np.load(EXAMPLE / "binary_expected.npz")
    package = tvmq.compile(MODEL, gpu_target, outputs=[*(f"{layer}/sign:out" for layer in LAYERS), "scores"])
    for number, image in enumerate(test_set["image"][:20]):
        result = package.run({"image": image[None]})
        for layer in LAYERS:
            np.testing.assert_array_equal(result[f"{layer}/sign:out"][0], expected[layer][number])
        np.testing.assert_allclose(result["scores"][0], expected["scores"][number], atol=1e-4)


@pytest.mark.parametrize("scheme", [None, "int8"])
def test_accuracy(test_set, scheme):
    model = MODEL
    if scheme is not None:
        model = tvmq.quantize(MODEL, scheme, "llvm -mcpu=native", EXAMPLE / "calibration.npz")
    package = tvmq.compile(model)
    found = [package.run({"image": image[None]})["scores"].argmax() for image in test_set["image"]]
    assert np.mean(np.array(found) == test_set["label"]) >= (0.991 if scheme is None else 0.985)
    statuses = [layer["status"] for layer in package.metadata["layers"] if layer["op"] == "Conv"]
    assert statuses == ["float" if scheme is None else "int8", *["binary"] * 3]
