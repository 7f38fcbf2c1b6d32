"""``tvmc compile --fine-tune``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest

from tests.frontends.graphs import model, node, value
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


def _state(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture
def small(tmp_path):
    """Give the words that quantize a network of two layers, so that little of the time is spent on compiling."""
    rng = np.random.default_rng(0)
    arrays = {"w": rng.standard_normal((4, 1, 3, 3)), "v": rng.standard_normal((64, 3))}
    nodes = [
        node("Conv", ["x", "w"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"]),
        node("Flatten", ["r"], ["f"]),
        node("MatMul", ["f", "v"], ["y"]),
    ]
    constants = {name: array.astype(np.float32) for name, array in arrays.items()}
    onnx.save(model(nodes, [value("x", (1, 1, 8, 8))], ["y"], constants), tmp_path / "small.onnx")
    np.savez(tmp_path / "images.npz", x=rng.standard_normal((32, 1, 8, 8)).astype(np.float32))
    return (
        *("compile", tmp_path / "small.onnx", "--quantize", "w4a4", "--rounding", "nearest"),
        *("--calibration-data", tmp_path / "images.npz"),
    )


def _step(path):
    return json.loads(str(_state(path)["numbers"]))["step"]


def test_killed_and_resumed(tvmc, tmp_path, small):
    """After ``kill -9`` the same command goes on from the last state that was written, and ends in the same bits."""
    whole, broken = tmp_path / "whole.npz", tmp_path / "broken.npz"
    steps, output = 1500, ("--output", tmp_path / "a.tar")
    flags = ("--fine-tune-steps", steps, "--fine-tune-rate", 0.01, "--fine-tune-checkpoint")
    assert tvmc(*small, *flags, whole, *output).code == 0
    words = (*small, *flags, broken, "--fine-tune-checkpoint-every", "0.05s", *output)
    command = [sys.executable, "-m", "tvmq.tvmc.main", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (broken.exists() and _step(broken) > 0):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < _step(broken) < steps
    assert tvmc(*small, *flags, broken, *output).code == 0
    assert _state(broken).keys() == _state(whole).keys()
    for name, array in _state(whole).items():
        assert np.array_equal(array, _state(broken)[name]), name


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
        (("--fine-tune-checkpoint-every", "9s"), "has no effect without --fine-tune-checkpoint"),
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
