"""Real models keep their accuracy: within a point of float, from 100 samples, as integers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import tvmq

CALIBRATION = 100


@dataclass(frozen=True)
class Task:
    """A model with samples ``[N, ...]`` of its one input and their classes ``[N]``."""

    model: Path
    calibration: np.ndarray
    samples: np.ndarray
    labels: np.ndarray


def _pictures(pixels: np.ndarray, scale: float, mean, std) -> np.ndarray:
    scaled = (pixels * np.float32(scale) - np.float32(mean)) / np.float32(std)
    return scaled.astype("float32").transpose(0, 3, 1, 2)


def _cifar(folder: Path, model: str, scale: float, mean, std) -> Task:
    train = np.load(folder / "cifar10/cifar10_train1000_lossless_calib.npz")
    test = np.load(folder / "cifar10/cifar10_test2000_jpegged.npz")
    prepared = (_pictures(pixels, scale, mean, std) for pixels in (train["x"][:CALIBRATION], test["x"]))
    return Task(folder / model, *prepared, test["y"])


def resnet8(folder: Path) -> Task:
    return _cifar(folder, "mlperf_tiny/ic_resnet8_fp32.onnx", 1.0, 0.0, 1.0)


def resnet20(folder: Path) -> Task:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return _cifar(folder, "cifar10/resnet20_cifar10_fp32.onnx", 1 / 255, mean, std)


def keywords(folder: Path) -> Task:
    data = np.load(folder / "mlperf_tiny/kws01_mfcc_int8.npz")
    samples = ((data["x"].astype("float32") - 83) * np.float32(0.5847029)).transpose(0, 3, 1, 2)
    model = folder / "mlperf_tiny/kws_dscnn_fp32.onnx"
    return Task(model, samples[:CALIBRATION], samples[CALIBRATION:], data["y"][CALIBRATION:])


def _accuracy(package, task: Task) -> float:
    right = 0
    for sample, label in zip(task.samples, task.labels, strict=True):
        (scores,) = package.run({"input": np.ascontiguousarray(sample[None])}).values()
        right += int(scores.argmax() == label)
    return right / len(task.labels)


@pytest.mark.parametrize("load", [resnet8, resnet20, keywords])
def test_within_a_point_of_float(load, data_dir):
    task = load(data_dir)
    shapes = {"input": (1, *task.samples.shape[1:])}
    samples = [{"input": np.ascontiguousarray(sample[None])} for sample in task.calibration]
    quantized = tvmq.quantize(str(task.model), calibration=samples, input_shapes=shapes)
    floats = {layer.op for layer in quantized.layers if layer.status == "float"}
    assert floats <= {"Softmax"}
    exact = _accuracy(tvmq.compile(str(task.model), input_shapes=shapes), task)
    assert _accuracy(tvmq.compile(quantized), task) >= exact - 0.01


def test_an_encoder_without_samples(data_dir):
    """Embeddings of sentences, padded to one length, as ``--quantize dynamic`` gives them."""
    model, length, few = data_dir / "transformer/minilm_l6_v2.onnx", 24, 20
    shapes = {"input_ids": (1, length), "attention_mask": (1, length)}
    with np.load(data_dir / "transformer/sick_test_986.npz") as data:
        ids, mask = (data[name][:few, :length].astype("int64") for name in ("ids_a", "mask_a"))
    quantized = tvmq.quantize(model, "dynamic", input_shapes=shapes)
    packages = [tvmq.compile(quantized), tvmq.compile(model, input_shapes=shapes)]
    cosines = []
    for row in range(few):
        feed = {"input_ids": ids[row : row + 1], "attention_mask": mask[row : row + 1]}
        one, other = (next(iter(package.run(feed).values())).ravel() for package in packages)
        cosines.append(one @ other)  # both have length 1
    assert np.mean(cosines) >= 0.996
    records = packages[0].metadata["layers"]
    dynamic = [record for record in records if record["op"] == "MatMul" and record["status"] == "dynamic"]
    assert len(dynamic) == 36  # the others are of two activations
