"""``tvmc tune``: records that ``tvmc compile`` uses, resumed after being killed, and everything it refuses."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tvmq.schedules.records import MANIFEST, RECORDS, WORKLOADS

DIGITS = Path(__file__).parents[3] / "examples" / "digits"
MODEL = DIGITS / "digits.onnx"
ONE_THREAD = "--target=llvm -mcpu=native -num-cores=1"
QUICK = (ONE_THREAD, "--quantize=int8", "--number=1", "--repeat=1")


@pytest.fixture(scope="module")
def xgboost():
    return pytest.importorskip("xgboost", reason="tuning needs the extra tune")


def test_tune_then_compile(tvmc, tmp_path, xgboost):
    records, package = tmp_path / "records", tmp_path / "digits.tar"
    result = tvmc("tune", MODEL, *QUICK, "--trials=18", "-o", records)
    assert result.code == 0, result.err
    assert re.search(r"\[1/\d\] \w+: 16 trials, best [\d.]+ ms, [\d.]+ GMAC/s; 2 trials left", result.err)
    assert "default (ms)" in result.out and f"tvmc compile --tuning-records {records}" in result.out
    assert len((records / RECORDS).read_text().splitlines()) == 18
    assert len((records / WORKLOADS).read_text().splitlines()) == 2
    assert {"tvmq", "tvm", "cpu", "date"} <= json.loads((records / MANIFEST).read_text()).keys()
    calibration = ("--calibration-data", DIGITS / "calibration.npz")
    compiled = tvmc("compile", MODEL, *QUICK[:2], *calibration, "--tuning-records", records, "-o", package)
    assert compiled.code == 0 and not compiled.err


def test_tasks_are_listed_and_chosen(tvmc, tmp_path, xgboost):
    listed = tvmc("tune", MODEL, "--tasks", "list", "-o", tmp_path / "records")
    assert listed.code == 0 and "MMAC" in listed.out
    assert not (tmp_path / "records").exists()
    name = next(word for word in listed.out.split() if "depthwise" in word)
    result = tvmc(
        "tune", MODEL, ONE_THREAD, "--trials=2", "--tasks", "*depthwise*", "-o", tmp_path / "records"
    )
    assert result.code == 0, result.err
    assert f"[1/1] {name}" in result.err
    wrong = tvmc("tune", MODEL, "--tasks", name[:-1] + "x", "-o", tmp_path / "records")
    assert wrong.code == 1 and f"did you mean '{name}'" in wrong.err


def test_options_of_passes_reach_what_is_measured(tvmc, tmp_path, xgboost):
    result = tvmc(
        *("tune", MODEL, *QUICK, "--trials=2", "--tasks", "*depthwise*", "-o", tmp_path / "records"),
        *("--pass-config", "tirx.disable_vectorize=true"),
    )
    assert result.code == 0 and "best" in result.err, result.err
    wrong = tvmc(
        "tune", MODEL, *QUICK, "--pass-config", "tirx.disable_vectorise=true", "-o", tmp_path / "none"
    )
    assert wrong.code == 1 and "did you mean 'tirx.disable_vectorize'" in wrong.err


def test_killed_and_resumed(tvmc, tmp_path, xgboost):
    """After ``kill -9`` every record but a cut one is there, and the same command goes on behind them."""
    records = tmp_path / "records"
    command = [sys.executable, "-m", "tvmq.tvmc.main", "tune", MODEL, *QUICK, "--trials=500", "-o", records]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (records / RECORDS).exists() or (records / RECORDS).read_text().count("\n") < 5:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = (records / RECORDS).read_text().count("\n")
    result = tvmc("tune", MODEL, *QUICK, "--trials=3", "-o", records)
    assert result.code == 0, result.err
    traces = [
        json.dumps(json.loads(line)[1][0]) for line in (records / RECORDS).read_text().splitlines()[:done]
    ]
    assert len(set(traces)) == done >= 5
    assert (records / RECORDS).read_text().count("\n") == done + 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials=0"], "must be a whole number of at least 1"),
        (["--trials=some"], "must be a whole number of at least 1"),
        (["--timeout=0"], "must be a whole number of at least 1"),
        (["--rpc-tracker=:9190"], "must look like host:9190"),
        (["--early-stopping=-1"], "must be a whole number of at least 0"),
        (["--rpc-tracker=host:90000", "--rpc-key=k"], "must look like host:9190"),
        (["--fill-mode=ones"], "invalid choice"),
    ],
)
def test_wrong_usage(tvmc, arguments, message):
    result = tvmc("tune", MODEL, *arguments)
    assert result.code == 2 and message in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rpc-key=board"], "--rpc-tracker and --rpc-key belong together"),
        (
            ["--fill-mode=random", "--quantize=int8", "--calibration-data", DIGITS / "calibration.npz"],
            "--fill-mode has no effect with --calibration-data",
        ),
        (["--calibration-data", DIGITS / "calibration.npz"], "no effect without --quantize"),
        (["--target=llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a53"], "cannot run aarch64 code"),
        (["--tasks=99"], "unknown task (--tasks) '99'"),
        (["--output=/proc/records"], "cannot write tuning records to '/proc/records'"),
    ],
)
def test_refusals(tvmc, arguments, message, xgboost, tmp_path):
    output = [] if any("output" in str(word) for word in arguments) else ["-o", tmp_path / "records"]
    result = tvmc("tune", MODEL, *arguments, *output)
    assert result.code == 1
    assert message in result.err and result.err.count("\n") == 1


def test_a_tracker_that_is_not_there(tvmc):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = tvmc("tune", MODEL, f"--rpc-tracker={address}", "--rpc-key=board")
    assert result.code == 1 and f"no RPC tracker answers at {address}" in result.err
