"""Devices that ``tvmq-rpc`` lends through TVM's tracker: several at once, dying ones, other machines."""

from __future__ import annotations

import re
import subprocess
import time

import numpy as np
import pytest
import tvm
from tvm import rpc
from tvm.s_tir import Schedule

from tvmq.errors import TvmqError
from tvmq.runtime.compilers import linker_for
from tvmq.schedules.cpu.contraction import schedule_contraction
from tvmq.targets import host
from tvmq.targets.features import row_of
from tvmq.tuning.devices import Devices, refuse_other_device
from tvmq.tuning.measure import MeasureOptions, measure
from tvmq.tuning.remote import Remote

for name in ("cloudpickle", "psutil", "tornado"):
    pytest.importorskip(name, reason=f"TVM's tracker needs {name}")
from tvm.rpc.tracker import Tracker  # noqa: E402

HERE = host.architecture()


@pytest.fixture(scope="module")
def tracker():
    tracker = Tracker(host="127.0.0.1", port=9490, port_end=9590, silent=True)
    yield tracker
    tracker.terminate()


@pytest.fixture
def board(tracker, lend):
    """Function that adds a device of a key and returns its process and all devices of the key."""

    def add(key):
        process = lend("--tracker", f"127.0.0.1:{tracker.port}", "--key", key, "--port", "9600-9700")
        devices = Devices("127.0.0.1", tracker.port, key)
        devices.count(patience=60)
        devices.check(patience=60)
        return process, devices

    return add


def kernel(tasks, target):
    sch = Schedule(tasks[0].func)
    assert schedule_contraction(sch, row_of(target), 1) == ""
    return sch.mod["main"]


def test_candidates_run_on_all_devices_at_once(tasks, target, tmp_path):
    def prepare(func, target):
        def evaluate(*_):
            # Each candidate waits for another one: alone it would fail.
            before = len(list(tmp_path.iterdir()))
            (tmp_path / str(time.monotonic_ns())).touch()
            deadline = time.monotonic() + 20
            while len(list(tmp_path.iterdir())) < before // 2 * 2 + 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            return [1.0]

        return evaluate

    options = MeasureOptions(timeout=60, parallel=2)
    found = dict(measure([tasks[0].func] * 4, target, options, prepare, lambda: 2))
    assert [found[number].error for number in range(4)] == [""] * 4


def test_one_of_two_devices_dies(tasks, target, board):
    first, devices = board("pair")
    board("pair")
    deadline = time.monotonic() + 60
    while devices.count() < 2:
        assert time.monotonic() < deadline
    options = MeasureOptions(number=1, repeat=2, timeout=60, parallel=2)
    errors = []
    for _, measured in measure([kernel(tasks, target)] * 8, target, options, Remote(devices), devices.count):
        errors.append(measured.error)
        first.kill()
    assert len(errors) == 8
    # Those that were running, or on their way there.
    assert sum(map(bool, errors)) <= 2
    assert devices.count() == 1


def test_no_device_is_left(tasks, target, board):
    process, devices = board("last")
    process.kill()
    process.wait()
    options = MeasureOptions(number=1, repeat=2, timeout=60, parallel=2)
    with pytest.raises(TvmqError, match="has no device 'last'"):
        for _ in measure([kernel(tasks, target)], target, options, Remote(devices), devices.count):
            pass


def test_what_a_device_says_of_itself(board):
    _, devices = board("told")
    session = devices.open(60)
    refuse_other_device(session, "here", HERE, [])
    with pytest.raises(TvmqError, match=f"the device at here is {HERE}, and the target is riscv64"):
        refuse_other_device(session, "here", "riscv64", [])
    with pytest.raises(TvmqError, match="the CPU of the device at here lacks magic, which the target has"):
        refuse_other_device(session, "here", HERE, ["magic"])


def test_a_device_of_another_architecture_is_not_tuned_on(board):
    _, devices = board("other")
    other = tvm.target.Target({"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a76"})
    if HERE == "aarch64":
        other = tvm.target.Target({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "znver3"})
    with pytest.raises(TvmqError, match=rf"the device at {devices}, 'other', is {HERE}, and the target is"):
        Remote(devices).check(other)


@pytest.mark.parametrize(
    ("code", "seconds", "message"),
    [
        ("raise(SIGILL);", 60, "the program died on the device: Illegal instruction"),
        ("for (;;) {}", 1, "the session took longer than its time limit"),
    ],
)
def test_a_session_that_ends_badly_says_why(board, tmp_path, code, seconds, message):
    _, devices = board(f"bad{seconds}")
    source = tmp_path / "bad.cc"
    source.write_text(f"#include <csignal>\nstruct Bad {{ Bad() {{ {code} }} }} bad;")
    subprocess.run([*linker_for(HERE), "-shared", "-fPIC", source, "-o", tmp_path / "bad.so"], check=True)
    session = devices.open(seconds)
    session.upload(str(tmp_path / "bad.so"))
    with pytest.raises(RuntimeError, match=message):
        session.load_module("bad.so")
    # The device is there for the next one.
    again = devices.open(60)
    array = tvm.runtime.tensor(np.arange(3), again.cpu())
    np.testing.assert_array_equal(array.numpy(), np.arange(3))


def test_a_server_without_a_tracker(lend):
    process = lend("--port", "9700-9800")
    port = int(re.fullmatch(rf"tvmq-rpc: {HERE} at port (\d+)\n", process.line)[1])
    assert rpc.connect("127.0.0.1", port).get_function("tvmq.machine")().split()[0] == HERE
    with pytest.raises(RuntimeError, match="cannot find server that matches key"):
        rpc.connect("127.0.0.1", port, "other")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--speed", "9"], "unknown option --speed\nusage: tvmq-rpc"),
        (["--key"], "usage: tvmq-rpc"),
        (["--key", "board"], "--tracker and --key belong together"),
        (["--port", "many"], "bad port many"),
    ],
)
def test_wrong_usage(lend, arguments, message):
    process = lend(*arguments)
    assert process.wait() == 1
    assert process.stderr.read().startswith(f"tvmq-rpc: error: {message}")


def test_a_tracker_that_is_not_there(lend):
    process = lend("--tracker", "127.0.0.1:1", "--key", "board", "--port", "9600-9700")
    expected = "tvmq-rpc: no tracker at 127.0.0.1:1: Connection refused; trying again\n"
    assert process.stderr.readline() == expected
    port = int(process.line.split()[-1])
    for _ in range(2):
        with pytest.raises(RuntimeError, match="cannot find server that matches key"):
            rpc.connect("127.0.0.1", port)
