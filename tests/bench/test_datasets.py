"""Preprocessing by hand, and the splits of the real data where they are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tvmq.bench.datasets import CALIBRATION_SAMPLES, crop_and_normalize
from tvmq.bench.subjects import MODELS


def test_crop_and_normalize() -> None:
    image = np.zeros((8, 6, 3), np.uint8)
    image[3, 2] = (255, 0, 51)  # the first pixel of the centre 2 x 2
    result = crop_and_normalize(image, 2)
    assert result.shape == (3, 2, 2) and result.dtype == np.float32
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(result[:, 0, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(result[:, 1, 1], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("mobilenetv2", (3, 224, 224), 1000),
        ("resnet20", (3, 32, 32), 10),
        ("resnet8", (3, 32, 32), 10),
        ("kws", (1, 49, 10), 12),
        ("mnist", (1, 28, 28), 10),
    ],
)
def test_splits(data_dir: Path, name: str, shape: tuple[int, ...], classes: int) -> None:
    split = MODELS[name].load(data_dir, 7)
    assert split.calibration.shape == (CALIBRATION_SAMPLES, *shape)
    assert split.samples.shape == (7, *shape) and split.labels.shape == (7,)
    for samples in (split.calibration, split.samples):
        assert samples.dtype == np.float32 and samples.flags.c_contiguous
    assert split.labels.dtype == np.int64 and split.labels.min() >= 0 and split.labels.max() < classes
    # No sample is in both halves.
    known = {sample.tobytes() for sample in split.calibration}
    assert not any(sample.tobytes() in known for sample in split.samples)
