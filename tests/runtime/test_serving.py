"""A package in a process that has threads, forks and lives long; ``server.py`` is that process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tvmq.runtime.machine import Machine
from tvmq.runtime.package import load

from .models import SIZE, expected, heavy_package, inputs

MEGABYTES = 4
"""What memory may grow by, over noise of the allocator: the outputs of ten thousand runs would take 160."""


def serve(path, scenario):
    """Return what a scenario of ``server.py`` prints, a dict for each line."""
    server = Path(__file__).parent / "server.py"
    # From 3.12 on Python warns of every fork of a process that has threads.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", server, path, scenario]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_ten_thousand_runs_on_threads_of_a_process_that_forks(parallel_path):
    (found,) = serve(parallel_path, "many_runs")
    assert found["wrong"] == []
    assert found["children"] == [0] * 10
    assert found["grown"] < MEGABYTES


def test_a_fork_of_an_idle_process(parallel_path):
    assert serve(parallel_path, "fork_after_idling") == [{"wrong": [], "children": [0]}]


def test_processes_by_fork_and_by_spawn(parallel_path):
    assert serve(parallel_path, "processes") == [{"equal": [True, True]}]


def test_the_process_ends_while_threads_run(parallel_path):
    assert serve(parallel_path, "exit_while_running") == [{}, {"late": True}]


def test_packages_come_and_go(parallel_path):
    (found,) = serve(parallel_path, "load_and_drop")
    descriptors, mapped, megabytes = found["grown"]
    assert (found["wrong"], descriptors, mapped) == (0, 0, 0)
    assert megabytes < MEGABYTES


def test_the_file_may_go(parallel_path, tmp_path):
    shutil.copy(parallel_path, tmp_path / "model.tar")
    assert serve(tmp_path / "model.tar", "without_file") == [{"equal": True}]


def test_threads_share_the_weights():
    """Four machines at once: the memory that they add is far below the one copy of the weights that there is."""
    states, package = 4, heavy_package()
    image = np.ones(package.metadata["inputs"][0]["shape"], "float32")
    package.run(image)
    together, results = threading.Barrier(states), []

    def run(machine: Machine) -> None:
        together.wait()  # each has a machine of its own now
        (output,) = machine.run(machine.prepare([image]))
        results.append(np.array(np.from_dlpack(output)))

    before = resident()
    threads = [threading.Thread(target=package._engine._call, args=(run,)) for _ in range(states)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert resident() - before < package.metadata["bytes"]["weights"] / 4
    assert len(results) == states
    for result in results:
        np.testing.assert_array_equal(result, package.run(image)["output_0"])


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_threads_that_load_at_once_load_once(parallel_path, monkeypatch):
    made = []
    monkeypatch.setattr(Machine, "weights", lambda self: made.append(self) or [])
    package, together = load(parallel_path), threading.Barrier(4)

    def run():
        together.wait()
        package.run(np.eye(SIZE, dtype="float32"))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_an_error_within_a_run_leaves_the_package_usable(built, monkeypatch):
    """The machine that was at work is not used again."""
    built.run(inputs())
    engine = built._engine
    machines = list(engine._idle)
    with pytest.raises(RuntimeError, match="in the middle"), monkeypatch.context() as patch:
        patch.setattr(
            Machine, "run", lambda self, tensors: (_ for _ in ()).throw(RuntimeError("in the middle"))
        )
        built.run(inputs())
    assert len(engine._idle) == len(machines) - 1
    for _ in range(2):
        np.testing.assert_array_equal(built.run(inputs())["sums"], expected()["sums"])
