"""Labelled images and features, preprocessed once and handed to every engine alike.

Every loader returns float32 samples ``[n, ...]``, ready to be a model's input, and int64 labels ``[n]``.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .encoders import EMBEDDINGS
from .synthetic import TOKENS

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
CALIBRATION_SAMPLES = 100
"""How many samples calibrate each trained model, for every engine; a split never evaluates on one of them."""
RANDOM_SAMPLES = 8
"""How many samples calibrate a network with random weights, and how many at most it is evaluated on."""


@dataclass(frozen=True)
class Split:
    """Samples to calibrate on and others to evaluate on.

    Attributes
    ----------
    calibration, samples : float32 ``[n, C, H, W]``, or whatever the model takes behind its batch.
    labels : int64 ``[n]``, of the samples; None where nobody knows a right answer.
    """

    calibration: np.ndarray
    samples: np.ndarray
    labels: np.ndarray | None


def _halve(samples: np.ndarray, labels: np.ndarray, limit: int) -> Split:
    """Return the first samples for calibration and at most ``limit`` of those that follow for evaluation."""
    stop = CALIBRATION_SAMPLES + limit
    return Split(
        samples[:CALIBRATION_SAMPLES],
        samples[CALIBRATION_SAMPLES:stop],
        labels[CALIBRATION_SAMPLES:stop].astype(np.int64),
    )


def crop_and_normalize(image: np.ndarray, size: int) -> np.ndarray:
    """Return the centre of a uint8 image ``[H, W, 3]``, normalized, as float32 ``[3, size, size]``."""
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    crop = image[top : top + size, left : left + size].astype(np.float32) / 255
    return (np.ascontiguousarray(crop.transpose(2, 0, 1)) - IMAGENET_MEAN) / IMAGENET_STD


def imagenet(root: Path, limit: int) -> Split:
    """The 500 labelled images, in the order of ``labels.txt``."""
    lines = (root / "imagenet" / "labels.txt").read_text().splitlines()[: CALIBRATION_SAMPLES + limit]
    samples, labels = [], []
    for line in lines:
        file, label, _ = line.split(maxsplit=2)
        with Image.open(root / "imagenet" / file) as image:
            samples.append(crop_and_normalize(np.asarray(image.convert("RGB")), 224))
        labels.append(int(label))
    return _halve(np.stack(samples), np.array(labels), limit)


def _cifar10(root: Path, limit: int, preprocess: Callable[[np.ndarray], np.ndarray]) -> Split:
    calibration = np.load(root / "cifar10" / "cifar10_train1000_lossless_calib.npz")["x"]
    test = np.load(root / "cifar10" / "cifar10_test2000_jpegged.npz")

    def to_input(images: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(preprocess(images.transpose(0, 3, 1, 2).astype(np.float32)))

    return Split(
        to_input(calibration[:CALIBRATION_SAMPLES]),
        to_input(test["x"][:limit]),
        test["y"][:limit].astype(np.int64),
    )


def cifar10_raw(root: Path, limit: int) -> Split:
    """CIFAR-10, pixels 0..255; the test images were once re-encoded as JPEG."""
    return _cifar10(root, limit, lambda images: images)


def cifar10_normalized(root: Path, limit: int) -> Split:
    """CIFAR-10 with ImageNet's mean and deviation."""
    return _cifar10(root, limit, lambda images: (images / 255 - IMAGENET_MEAN) / IMAGENET_STD)


def keywords(root: Path, limit: int) -> Split:
    """MFCC features of one-second recordings, 12 keywords."""
    archive = np.load(root / "mlperf_tiny" / "kws01_mfcc_int8.npz")
    features = (archive["x"].astype(np.float32) - np.float32(archive["zero_point"])) * archive["scale"]
    return _halve(np.ascontiguousarray(features.transpose(0, 3, 1, 2)), archive["y"], limit)


def mnist(root: Path, limit: int) -> Split:
    """MNIST's test digits, pixels 0..255."""
    with gzip.open(root / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 1, 28, 28).astype(np.float32)
    with gzip.open(root / "mnist" / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read()[8:], np.uint8)
    return _halve(pixels, labels, limit)


def random_images(_root: Path, limit: int) -> Split:
    """Images of normal noise, coarse and fine, for networks with random weights."""
    rng = np.random.default_rng(1)
    count = RANDOM_SAMPLES + min(limit, RANDOM_SAMPLES)
    coarse = rng.standard_normal((count, 3, 7, 7), np.float32).repeat(32, axis=2).repeat(32, axis=3)
    samples = coarse + rng.standard_normal((count, 3, 224, 224), np.float32) / 2
    return Split(samples[:RANDOM_SAMPLES], samples[RANDOM_SAMPLES:], None)


def random(shape: Sequence[int], limit: int) -> Split:
    """Normal noise, ``[n, *shape]``."""
    rng = np.random.default_rng(1)
    samples = rng.standard_normal((RANDOM_SAMPLES + min(limit, RANDOM_SAMPLES), *shape), np.float32)
    return Split(samples[:RANDOM_SAMPLES], samples[RANDOM_SAMPLES:], None)


def random_embeddings(_root: Path, limit: int) -> Split:
    """What the embeddings of 32 tokens are replaced by: normal vectors, ``[n, 32, 384]``."""
    return random(EMBEDDINGS, limit)


def random_tokens(_root: Path, limit: int) -> Split:
    """What a layer norm hands to an encoder: normal vectors, ``[n, 128, 768]``."""
    return random(TOKENS, limit)
