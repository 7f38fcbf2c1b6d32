"""An ARM board without Python, under emulation, tuned for and run on from here: ``tvmq-rpc`` at a tracker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tvmq
from tvmq.tuning.devices import Devices

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
TARGET = "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72 -num-cores=1"
IMAGE = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)


@pytest.fixture(scope="module")
def board(tracker, lend, arm_launcher):
    """The flags that name the board."""
    host, port = tracker
    flags = ("--tracker", f"{host}:{port}", "--key", "arm", "--port", "9600-9700")
    process = lend(*flags, arch="aarch64", launcher=arm_launcher)
    Devices(host, port, "arm").count(patience=60)
    yield f"--rpc-tracker={host}:{port}", "--rpc-key=arm"
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    path = tmp_path_factory.mktemp("samples") / "samples.npz"
    np.savez(path, image=np.random.default_rng(1).random((8, 1, 8, 8), np.float32))
    return path


def test_tuned_compiled_and_run_on_the_board(tvmc, board, samples, tmp_path):
    model = DIGITS / "digits.onnx"
    # Weights that either machine would make smaller for its own multiply would differ between the two.
    quantize = ("--quantize=int8", "--no-pair-safe-weights", "--calibration-data", samples)
    measuring = ("--trials=4", "--number=1", "--repeat=2", "--min-repeat-ms=0", "--timeout=120")
    result = tvmc(
        "tune", model, "--target", TARGET, *quantize, *measuring, "-o", tmp_path / "records", *board
    )
    assert result.code == 0, result.err
    assert len((tmp_path / "records" / "database_tuning_record.json").read_text().splitlines()) == 4
    arm, here = tmp_path / "arm.tar", tmp_path / "here.tar"
    records = ("--tuning-records", tmp_path / "records")
    assert tvmc("compile", model, "--target", TARGET, *quantize, *records, "-o", arm).code == 0
    assert tvmc("compile", model, *quantize, "-o", here).code == 0
    np.savez(tmp_path / "in.npz", image=IMAGE)
    outputs = tmp_path / "out.npz"
    result = tvmc("run", arm, "-i", tmp_path / "in.npz", "-o", outputs, "--print-time", *board)
    assert result.code == 0, result.err
    assert "mean (ms)" in result.out
    with np.load(outputs) as there:
        np.testing.assert_array_equal(there["scores"], tvmq.load(here).run({"image": IMAGE})["scores"])


def test_another_machine_than_the_board(tvmc, board, digits_path, tmp_path):
    target = "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a76"
    result = tvmc("tune", DIGITS / "digits.onnx", "--target", target, "-o", tmp_path, *board)
    assert result.code == 1
    assert "'arm', lacks dotprod, fullfp16, lse, rdm, which the target has" in result.err
    result = tvmc("run", digits_path, *board)
    assert result.code == 1
    assert "is aarch64, and the target is x86_64" in result.err
