"""Measuring through TVM's RPC, against a tracker and a server in this machine."""

from __future__ import annotations

import multiprocessing
import socket
import time

import pytest
from tvm.s_tir import Schedule

from tvmq import api
from tvmq.errors import TvmqError
from tvmq.schedules.cpu.contraction import schedule_contraction
from tvmq.schedules.cuda.kernels import cuda_kernel
from tvmq.targets.features import row_of
from tvmq.targets.parse import parse_target
from tvmq.tuning.devices import Devices
from tvmq.tuning.measure import MeasureOptions, measure
from tvmq.tuning.remote import Remote

for name in ("cloudpickle", "psutil", "tornado"):
    pytest.importorskip(name, reason=f"TVM's tracker and server need {name}")
from tvm.rpc.server import Server  # noqa: E402
from tvm.rpc.tracker import Tracker  # noqa: E402


@pytest.fixture(scope="module")
def tracker():
    tracker = Tracker(host="127.0.0.1", port=9190, port_end=9290, silent=True)
    yield tracker
    tracker.terminate()


def _wait_for(devices):
    """Return when the server has registered."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return devices.check()
        except TvmqError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_a_kernel_is_timed_on_the_device(tracker, tasks, target):
    server = Server(
        host="127.0.0.1", key="board", tracker_addr=("127.0.0.1", tracker.port), silent=True, no_fork=False
    )
    try:
        devices = Devices("127.0.0.1", tracker.port, "board")
        _wait_for(devices)
        sch = Schedule(tasks[0].func)
        assert schedule_contraction(sch, row_of(target), 1) == ""
        options = MeasureOptions(number=1, repeat=2, timeout=60, parallel=1)
        found = dict(measure([sch.mod["main"]] * 2, target, options, Remote(devices), devices.count))
        assert [measured.error for measured in found.values()] == ["", ""]
        assert all(len(measured.seconds) == 2 and min(measured.seconds) > 0 for measured in found.values())
        with pytest.raises(TvmqError, match="has no device 'other'; it has board"):
            Devices("127.0.0.1", tracker.port, "other").check()
    finally:
        server.terminate()


def test_a_tracker_that_is_not_there_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(TvmqError, match=f"no RPC tracker answers at 127.0.0.1:{port}"):
            Devices("127.0.0.1", port, "board").check()


def test_a_tracker_without_devices(tracker):
    with pytest.raises(TvmqError, match="has no device 'nothing'"):
        Devices("127.0.0.1", tracker.port, "nothing").check()


def test_no_free_device(monkeypatch, tracker):
    class Busy:
        def summary(self):
            queue = {"free": 0, "pending": 2}
            return {"queue_info": {"board": queue}, "server_info": [{"key": "server:board"}]}

    monkeypatch.setattr("tvm.rpc.connect_tracker", lambda host, port: Busy())
    with pytest.raises(TvmqError, match="no free device 'board'"):
        Devices("127.0.0.1", tracker.port, "board").check()


def _serve(port, key):
    """Run in a process forked from one that has the emulated GPU: sessions are forked from it."""
    from tvm.rpc.server import PopenRPCServerState

    PopenRPCServerState("127.0.0.1", tracker_addr=("127.0.0.1", port), key=key, silent=True)
    time.sleep(600)


def test_a_kernel_is_timed_on_the_devices_gpu(tracker, emulated_gpu, gpu_compiler, quantized):
    target = parse_target("cuda -arch=sm_80")
    task = next(task for task in api.tuning_tasks(quantized, target) if task.name == "qaverage_pool2d")
    emulated_gpu.load()
    server = multiprocessing.get_context("fork").Process(target=_serve, args=(tracker.port, "gpu"))
    server.start()
    try:
        devices = Devices("127.0.0.1", tracker.port, "gpu")
        _wait_for(devices)
        remote = Remote(devices)
        remote.check(target)
        with pytest.raises(TvmqError, match="the GPU of the device at .* 'gpu', is of sm_80.* of sm_90"):
            remote.check(parse_target("cuda -arch=sm_90"))
        seconds = remote(cuda_kernel(task.func, row_of(target)), target)(1, 2, 0)
        assert len(seconds) == 2 and min(seconds) > 0
    finally:
        server.kill()
        server.join()


def test_a_device_without_a_gpu(tracker, gpu_compiler):
    server = Server(
        host="127.0.0.1", key="bare", tracker_addr=("127.0.0.1", tracker.port), silent=True, no_fork=False
    )
    try:
        devices = Devices("127.0.0.1", tracker.port, "bare")
        _wait_for(devices)
        with pytest.raises(TvmqError, match="the device at .* 'bare', has no NVIDIA GPU, or its RPC server"):
            Remote(devices).check(parse_target("cuda -arch=sm_80"))
    finally:
        server.terminate()
