"""``tvmc compile --fine-tune``."""

from __future__ import annotations

import numpy as np
import pytest

from tvmq.runtime.package import load

from .conftest import DIGITS

FLAGS = ("--quantize", "w2a2", "--calibration-data", DIGITS / "calibration.npz", "--rounding", "nearest")


def _compile(tvmc, output, *flags):
    return tvmc("compile", DIGITS / "digits.onnx", *FLAGS, "--output", output, *flags)


def _scores(path):
    images = np.load(DIGITS / "test.npz")["image"][:40]
    package = load(path)
    return np.concatenate([package.run({"image": image[None]})["scores"] for image in images])


def test_what_was_fine_tuned_is_said_and_goes_on_from_its_state(tvmc, tmp_path, caplog):
    flags = (
        "--fine-tune-steps",
        40,
        "--fine-tune-rate",
        0.01,
        "--fine-tune-checkpoint",
        tmp_path / "state.npz",
    )
    first = _compile(tvmc, tmp_path / "a.tar", *flags)
    assert (first.code, "fine-tuned in 40 steps" in caplog.text) == (0, True), first
    again = _compile(tvmc, tmp_path / "b.tar", *flags)
    assert again.code == 0
    assert np.array_equal(_scores(tmp_path / "a.tar"), _scores(tmp_path / "b.tar"))
    other = _compile(tvmc, tmp_path / "c.tar", *flags, "--fine-tune-seed", 1)
    assert (other.code, "with other samples or options" in other.err) == (1, True)


def test_labels_are_learned_from(tvmc, tmp_path, caplog):
    flags = ("--fine-tune-labels", DIGITS / "training.npz", "--fine-tune-steps", 20, "--fine-tune-rate", 0.01)
    result = _compile(tvmc, tmp_path / "a.tar", *flags)
    assert (result.code, "fine-tuned in 20 steps" in caplog.text) == (0, True), result


def test_compressed_weights_learn_from_samples(tvmc, tmp_path, caplog):
    flags = ("--quantize", "weight-only", "--codebook", "--weight-bits", 2, "--fine-tune-steps", 10)
    digits = (DIGITS / "digits.onnx", "--output", tmp_path / "a.tar")
    without = tvmc("compile", *digits, *flags)
    assert (without.code, "needs calibration samples" in without.err) == (1, True), without
    result = tvmc("compile", *digits, *flags, "--calibration-data", DIGITS / "calibration.npz")
    assert (result.code, "fine-tuned in 10 steps" in caplog.text) == (0, True), result


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--fine-tune-budget", "long"), "a time, such as 90s, 20min or 1h"),
        (("--fine-tune", "--fine-tune-held-out", 0), "above 0 and at most 0.5"),
        (("--fine-tune-labels", DIGITS / "nothing.npz"), "do not exist"),
        (("--fine-tune-checkpoint", DIGITS / "nowhere" / "state.npz"), "no folder"),
        (("--fine-tune", "--calibration-samples", 4), "at least 8"),
    ],
)
def test_what_does_not_do(tvmc, tmp_path, flags, says):
    result = _compile(tvmc, tmp_path / "a.tar", *flags)
    assert result.code != 0
    assert says in result.err
    assert not (tmp_path / "a.tar").exists()


def test_it_needs_a_scheme(tvmc, tmp_path):
    result = tvmc("compile", DIGITS / "digits.onnx", "--fine-tune", "--output", tmp_path / "a.tar")
    assert (result.code, "--fine-tune has no effect without --quantize" in result.err) == (1, True)
