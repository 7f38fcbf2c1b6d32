"""A server in small: ``python server.py PACKAGE SCENARIO``. Prints one line of JSON: what the scenario found.

The package has one float32 input ``[n, n]`` and returns its square. Runs in a process of its own: it forks, ends while
threads run, and looks at its own memory.
"""

from __future__ import annotations

import atexit
import gc
import json
import multiprocessing
import os
import sys
import threading
import time

import numpy as np

import tvmq.runtime.threads as tvmq_threads
from tvmq.runtime.package import Package, load

tvmq_threads._usable = lambda: {0, 1}  # so that kernels run in parallel wherever the tests run
THREADS = 4
RUNS = 10_000
FORKS = 10
PATIENCE = 60  # seconds until a child counts as hanging


def images(package: Package) -> list[np.ndarray]:
    """One for each thread; products of small integers are exact."""
    generator = np.random.default_rng(0)
    return [
        generator.integers(-9, 9, package.metadata["inputs"][0]["shape"]).astype("float32")
        for _ in range(THREADS)
    ]


def memory() -> float:
    """Resident memory of this process, in MB."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def start_clients(package: Package, runs: int, wrong: list[int]) -> list[threading.Thread]:
    """Threads that run the package, each on its own image; they add their number to ``wrong`` for each bad result."""

    def client(number: int, image: np.ndarray) -> None:
        expected = image @ image
        for _ in range(runs):
            if not np.array_equal(package.run(image)["output_0"], expected):
                wrong.append(number)

    threads = [threading.Thread(target=client, args=pair) for pair in enumerate(images(package))]
    for thread in threads:
        thread.start()
    return threads


def finish(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join()


def forked(package: Package, wrong: list[int]) -> int:
    """Fork a child that runs the package on threads too and exits as programs do; return its exit code, -1 for none."""
    pid = os.fork()
    if pid == 0:
        wrong.clear()
        finish(start_clients(package, 3, wrong))
        sys.exit(len(wrong))
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, 9)
    return -1


def many_runs(package: Package) -> dict:
    """Threads that run, and a process that forks meanwhile: bad results, children, and what memory grew by."""
    wrong: list[int] = []
    finish(start_clients(package, RUNS // 20 // THREADS, wrong))
    before = memory()
    threads = start_clients(package, RUNS // THREADS, wrong)
    children = [forked(package, wrong) for _ in range(FORKS)]
    finish(threads)
    return {"wrong": wrong, "children": children, "grown": memory() - before}


def fork_after_idling(package: Package) -> dict:
    """A process forks whose threads have fallen asleep."""
    wrong: list[int] = []
    finish(start_clients(package, 2, wrong))
    time.sleep(0.5)
    return {"wrong": wrong, "children": [forked(package, wrong)]}


def _in_child(package: Package, image: np.ndarray) -> float:
    return float(package.run(image)["output_0"].sum())


def processes(package: Package) -> dict:
    """The package goes to processes of both kinds after it has run here."""
    image = images(package)[0]
    here = _in_child(package, image)
    sums = []
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            sums.append(pool.apply_async(_in_child, (package, image)).get(PATIENCE))
    return {"equal": [there == here for there in sums]}


def exit_while_running(package: Package) -> dict:
    """The process ends while daemon threads run the package, and runs it once more at its very end."""
    image = images(package)[0]
    loop = threading.Thread(target=lambda: [package.run(image) for _ in range(10**9)], daemon=True)
    loop.start()
    time.sleep(0.1)
    LATE.append((package, image))
    return {}


LATE: list[tuple[Package, np.ndarray]] = []


@atexit.register
def _late() -> None:
    for package, image in LATE:
        print(json.dumps({"late": bool(np.array_equal(package.run(image)["output_0"], image @ image))}))


def load_and_drop(package: Package) -> dict:
    """Packages come and go, two at a time: file descriptors, mapped libraries and memory."""
    path, image = sys.argv[1], images(package)[0]
    expected, wrong = image @ image, 0

    def state() -> tuple[int, int, float]:
        with open("/proc/self/maps") as maps:
            mapped = sum("mod.so" in line for line in maps)
        return len(os.listdir("/proc/self/fd")), mapped, memory()

    for number in range(60):
        first, second = load(path), load(path)
        for one in (first, second):
            wrong += not np.array_equal(one.run(image)["output_0"], expected)
        del first, second, one
        if number == 9:
            before = state()
    after = state()
    return {"wrong": wrong, "grown": [new - old for new, old in zip(after, before, strict=True)]}


def without_file(package: Package) -> dict:
    """The file goes between loading and the first run."""
    os.remove(sys.argv[1])
    image = images(package)[0]
    return {"equal": bool(np.array_equal(package.run(image)["output_0"], image @ image))}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[2]](load(sys.argv[1]))), flush=True)
