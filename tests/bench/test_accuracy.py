"""Accuracy over logits whose figures can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.bench.accuracy import Accuracy, assess, predict

REFERENCE = np.array([[3.0, 0.0], [0.0, 2.0], [4.0, 3.0], [0.0, 1.0]], np.float32)
LABELS = np.array([0, 1, 1, 1])


def test_the_reference_agrees_with_itself() -> None:
    assert assess(REFERENCE, REFERENCE, LABELS) == Accuracy(
        top1=0.75, agreement=1.0, cosine=pytest.approx(1.0)
    )


def test_figures() -> None:
    # Cosines to the reference: 1, 0, (3 * 4 + 4 * 3) / 25 and 1. Predicted: 0, 0, 1, 1.
    logits = np.array([[1.0, 0.0], [5.0, 0.0], [3.0, 4.0], [0.0, 7.0]], np.float32)
    assert assess(logits, REFERENCE, LABELS) == Accuracy(
        top1=0.75, agreement=0.5, cosine=pytest.approx((1 + 0 + 24 / 25 + 1) / 4)
    )


def test_predict_runs_one_sample_at_a_time() -> None:
    shapes, steps = [], []

    def run(sample: np.ndarray) -> np.ndarray:
        shapes.append(sample.shape)
        return sample.reshape(1, -1) * 2

    samples = np.arange(24, dtype=np.float32).reshape(4, 1, 2, 3)
    logits = predict(run, samples, lambda: steps.append(None))
    np.testing.assert_array_equal(logits, samples.reshape(4, 6) * 2)
    assert shapes == [(1, 1, 2, 3)] * 4 and len(steps) == 4
