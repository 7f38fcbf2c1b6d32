from __future__ import annotations

import subprocess
import sys

import pytest
import tvm
from tvm import relax
from tvm.script import tirx as T

from tvmq.errors import TvmqError
from tvmq.runtime import threads
from tvmq.runtime.describe import describe
from tvmq.runtime.package import Package

from .models import SIZE


def run(path, monkeypatch, said):
    """Run the package in a process of its own; return its exit code and output.

    It prints how many threads the run adds to the process, and whether the process may still use what it might.
    """
    monkeypatch.delenv("TVM_BIND_THREADS", raising=False)
    monkeypatch.delenv("TVM_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("TVM_NUM_THREADS", said)
    program = (
        "import os, sys, numpy\n"
        "import tvmq.runtime.threads as threads\n"
        "threads._usable = lambda: {0, 1}\n"
        "from tvmq.runtime.package import load\n"
        "package = load(sys.argv[1])\n"
        f"x = numpy.ones(({SIZE}, {SIZE}), 'float32')\n"
        "before, allowed = len(os.listdir('/proc/self/task')), os.sched_getaffinity(0)\n"
        f"assert (package.run({{'x': x}})['output_0'] == {SIZE}).all()\n"
        "print(len(os.listdir('/proc/self/task')) - before, allowed == os.sched_getaffinity(0))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split(), done.stderr


def test_num_cores_decides(parallel_path, monkeypatch):
    assert run(parallel_path, monkeypatch, None)[:2] == (0, ["2", "True"])


@pytest.mark.parametrize(("said", "workers"), [("1", "0"), ("2", "2"), ("3", "3")])
def test_the_environment_decides_first(parallel_path, monkeypatch, said, workers):
    """Several threads are one of ours, which runs the kernels, and those of TVM's pool behind it."""
    assert run(parallel_path, monkeypatch, said)[:2] == (0, [workers, "True"])


@pytest.mark.parametrize("said", ["0", "-1", "two", ""])
def test_a_wrong_number_is_refused(monkeypatch, said):
    monkeypatch.setenv("TVM_NUM_THREADS", said)
    threads.requested_threads.cache_clear()
    with pytest.raises(TvmqError, match=f"TVM_NUM_THREADS={said}: expected a number of threads from 1 on"):
        threads.requested_threads()


def test_two_hardware_threads_are_one_core(monkeypatch, tmp_path):
    for cpu, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        folder = tmp_path / f"cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings + "\n")
    monkeypatch.setattr(threads, "_CPUS", tmp_path)
    monkeypatch.setattr(threads, "_usable", lambda: {0, 1, 2, 3})
    assert threads.physical_cores() == 2
    monkeypatch.setattr(threads, "_usable", lambda: {0, 2})
    assert threads.physical_cores() == 1
    monkeypatch.setattr(threads, "_CPUS", tmp_path / "absent")
    assert threads.physical_cores() == 2


@T.prim_func(s_tir=True)
def who_computes(x: T.Buffer((2,), "int32"), out: T.Buffer((2,), "int32")):
    """Write down the thread of each half of a parallel loop."""
    for i in T.parallel(2):
        with T.sblock("half"):
            vi = T.axis.spatial(2, i)
            out[vi] = x[vi] + T.call_extern("int32", "gettid")


@pytest.mark.parametrize(("cores", "threads_used"), [(1, 1), (2, 2)])
def test_the_kernels_really_run_on_so_many_threads(tmp_path, monkeypatch, cores, threads_used):
    """Without a word from the environment, which TVM asks again at each parallel loop."""
    monkeypatch.delenv("TVM_NUM_THREADS", raising=False)
    x = relax.Var("x", relax.TensorType((2,), "int32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            kernel = builder.add_func(who_computes, "who_computes")
            call = relax.call_tir(kernel, [x], relax.TensorType((2,), "int32"))
            output = builder.emit_output(builder.emit(call))
        builder.emit_func_output(output)
    target = tvm.target.Target({"kind": "llvm", "num-cores": cores})
    Package.from_executable(
        tvm.compile(builder.get(), target), describe(builder.get(), target, "float")
    ).export(tmp_path / "model.tar")
    program = (
        "import sys, numpy\n"
        "import tvmq.runtime.threads as threads\n"
        "threads._usable = lambda: {0, 1}\n"
        "from tvmq.runtime.package import load\n"
        "ran = load(sys.argv[1]).run({'x': numpy.zeros(2, 'int32')})['output_0']\n"
        "print(len(set(ran.tolist())))\n"
    )
    command = [sys.executable, "-c", program, tmp_path / "model.tar"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(threads_used)]


def test_the_environment_stays_as_it_is(parallel_path, monkeypatch):
    """A process that this one starts must not take our number of threads for the user's word."""
    program = (
        "import os, sys; from tvmq.runtime.package import load\n"
        f"load(sys.argv[1]).run([[1.0] * {SIZE}] * {SIZE})\n"
        "print('TVM_NUM_THREADS' in os.environ)\n"
    )
    monkeypatch.delenv("TVM_NUM_THREADS", raising=False)
    command = [sys.executable, "-c", program, parallel_path]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["False"]


@pytest.mark.parametrize(
    ("count", "calls", "share"),
    [(8, 1, 8), (8, 2, 4), (8, 3, 2), (8, 8, 1), (8, 50, 1), (2, 2, 2), (2, 4, 2), (2, 5, 1), (16, 1, 16)],
)
def test_calls_share_the_cores(monkeypatch, count, calls, share):
    monkeypatch.setattr(threads, "requested_threads", lambda: None)
    monkeypatch.setattr(threads, "_cores_at_start", lambda: 8)
    assert threads.share_of(count, calls) == share


def test_calls_share_what_the_user_grants(monkeypatch):
    monkeypatch.setattr(threads, "requested_threads", lambda: 4)
    monkeypatch.setattr(threads, "_cores_at_start", lambda: 64)
    assert [threads.share_of(4, calls) for calls in (1, 2, 4, 9)] == [4, 2, 1, 1]
