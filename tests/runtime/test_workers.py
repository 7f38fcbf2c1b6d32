from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from tvmq.runtime import workers
from tvmq.runtime.workers import Workers

THREADS = [pytest.param(1, id="on the caller's thread"), pytest.param(2, id="on a worker")]


@pytest.fixture
def pool(monkeypatch):
    """Workers without kernels; as many threads as asked for, whatever else runs."""
    monkeypatch.setattr(workers, "use_threads", lambda count: None)
    monkeypatch.setattr(workers, "share_of", lambda count, calls: count)
    return Workers()


def started(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("count", THREADS)
def test_what_the_function_returns_or_raises_comes_back(pool, count):
    def fail():
        raise KeyError("this")

    for _ in range(3):
        assert pool.run(count, lambda: "result") == "result"
        with pytest.raises(KeyError, match="this"):
            pool.run(count, fail)


def test_only_parallel_kernels_leave_the_callers_thread(pool):
    assert pool.run(1, threading.get_ident) == threading.get_ident()
    assert pool.run(2, threading.get_ident) != threading.get_ident()


def test_one_worker_serves_many_calls_and_each_call_under_way_has_its_own(pool):
    assert len({pool.run(2, threading.get_ident) for _ in range(5)}) == 1
    together = threading.Barrier(3)
    served = []

    def serve():
        together.wait()
        served.append(threading.get_ident())

    for thread in [started(pool.run, 2, serve) for _ in range(3)]:
        thread.join()
    assert len(set(served)) == 3


def test_cores_are_shared_among_the_calls_under_way(pool, monkeypatch):
    calls = []
    monkeypatch.setattr(workers, "share_of", lambda count, running: calls.append(running) or 1)
    inside, leave = threading.Event(), threading.Event()
    thread = started(pool.run, 2, lambda: (inside.set(), leave.wait()))
    inside.wait()
    pool.run(2, lambda: None)
    leave.set()
    thread.join()
    pool.run(2, lambda: None)
    assert calls == [1, 2, 1]


@pytest.mark.parametrize("count", THREADS)
def test_a_fork_waits_for_calls_and_calls_wait_for_a_fork(pool, count):
    inside, leave, order = threading.Event(), threading.Event(), []

    def first():
        inside.set()
        leave.wait()
        order.append("first call")

    def fork():
        pool.hold()
        order.append("fork")
        assert pool.run(count, threading.get_ident) == threading.get_ident()
        holding.set()
        release.wait()
        pool.release()

    holding, release = threading.Event(), threading.Event()
    running = started(pool.run, count, first)
    inside.wait()
    forking = started(fork)
    assert not holding.wait(0.05)
    leave.set()
    holding.wait()
    second = started(pool.run, count, lambda: order.append("second call"))
    second.join(0.05)
    assert order == ["first call", "fork"]
    release.set()
    for thread in (running, forking, second):
        thread.join()
    assert order == ["first call", "fork", "second call"]


def test_where_no_thread_can_start_the_callers_does(pool, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers, "_Worker", refuse)
    assert pool.run(2, threading.get_ident) == threading.get_ident()


def test_an_interrupted_caller_leaves_no_result_to_the_next():
    program = (
        "import signal, time; from tvmq.runtime import workers\n"
        "workers.use_threads = lambda count: None\n"
        "workers.share_of = lambda count, calls: count\n"
        "def interrupt(*_): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGALRM, interrupt)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.1)\n"
        "try: workers.WORKERS.run(2, lambda: time.sleep(0.3) or 'stale')\n"
        "except KeyboardInterrupt: print('interrupted')\n"
        "print([workers.WORKERS.run(2, lambda: n) for n in range(3)])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["interrupted", "[0, 1, 2]"]
