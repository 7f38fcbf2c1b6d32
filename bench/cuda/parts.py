"""The parts of a run, each in a process of its own: what they measure, one row after another.

A row goes to the file when it is there, and its name before: whoever runs a part again goes on behind what broke it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ...runtime import gpu
from . import peers
from .clock import Clock, HostClock, measure
from .peaks import Chip, chip
from .prepared import Prepared, Ready

ROUNDS = 15
A_ROW_SECONDS = 60
"""A row that takes longer ends its process."""
MOST_COPIES = 48
COPIED_BYTES = 256 << 20
LAUNCHES = 400
"""More than a network has."""

Row = dict[str, Any]


class Rows:
    """A file of rows, as lines of JSON, which is added to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun = {row["name"] for row in self.read() if "begun" in row}

    def read(self) -> list[Row]:
        if not self.path.is_file():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def add(self, row: Mapping[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())


def run_part(part: str, prepared: Prepared, path: Path, emulated: bool) -> int:
    """Measure what the file does not have yet; return 0, or 3 where an error may have broken the GPU's context.

    Parameters
    ----------
    emulated : the GPU is emulated: times mean nothing, and there is no PyTorch.
    """
    rows = Rows(path)
    clock = HostClock() if emulated else Clock()
    torch = None if emulated else peers.torch_or_none()
    rounds = 1 if emulated else ROUNDS
    about = chip()
    for name, make in _rows_of(part, prepared, clock, torch is not None, rounds, about, emulated):
        if name in rows.begun:
            continue
        rows.add({"begun": time.time(), "name": name})
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10 * A_ROW_SECONDS if emulated else A_ROW_SECONDS)
        try:
            row = make()
        except Exception as error:  # whatever it is, the others are to be measured
            first = (str(error).splitlines() or [""])[0]
            rows.add({"name": name, "error": f"{type(error).__name__}: {first}"[:400]})
            return 3
        finally:
            signal.alarm(0)
        rows.add({"name": name, **row})
    return 0


def _rows_of(
    part: str,
    prepared: Prepared,
    clock: Clock | HostClock,
    has_torch: bool,
    rounds: int,
    about: Chip,
    emulated: bool,
) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield each row's name and what measures it."""
    if part == "models":
        for path in prepared.models():
            yield path.stem, partial(_model, path, clock, has_torch, rounds)
        return
    if part in ("vectors", "memory"):
        size = 1 << 16 if emulated else 1 << 30
        yield (
            "copy",
            lambda: {"seconds": (seconds := clock.copy_seconds(size)), "bytes_s": 2 * size / seconds},
        )
    for kernel in prepared.kernels(part):
        if part == "products":
            yield (
                kernel.name,
                partial(_product, prepared, kernel, clock, has_torch, rounds, about),
            )
        else:
            yield kernel.name, partial(_moved, prepared, kernel, clock, rounds, emulated)


def _product(
    prepared: Prepared, kernel: Ready, clock: Clock | HostClock, has_torch: bool, rounds: int, about: Chip
) -> Row:
    """Measure a product beside PyTorch's, each with a cold cache."""
    runs = {"tvmq": [prepared.run_of(kernel)]}
    failed = {}
    for name, make in peers.product_contenders(kernel.family, kernel.peer).items() if has_torch else ():
        try:
            runs[name] = [make()]
            runs[name][0]()
        except Exception as error:
            runs.pop(name, None)
            failed[name] = str(error).splitlines()[0][:200]
    found = measure(clock, runs, rounds)
    seconds = {name: latency.median_ms / 1e3 for name, latency in found.items()}
    peak = about.float_peak if "float" in kernel.family else about.int8_peak
    return {
        "family": kernel.family,
        "times": kernel.times,
        "macs": kernel.macs,
        "seconds": seconds,
        "spread": {name: latency.spread_ms / 1e3 for name, latency in found.items()},
        "tops": 2 * kernel.macs / seconds["tvmq"] / 1e12,
        "share_of_peak": kernel.macs / seconds["tvmq"] / peak if peak else None,
        "failed": failed,
    }


def _moved(prepared: Prepared, kernel: Ready, clock: Clock | HostClock, rounds: int, emulated: bool) -> Row:
    """Measure a kernel on so many copies of its arguments that no cache has them."""
    copies = 1 if emulated else max(1, min(MOST_COPIES, COPIED_BYTES // kernel.moved))
    runs = [prepared.run_of(kernel, seed) for seed in range(copies)]
    latency = measure(clock, {"tvmq": runs}, rounds)["tvmq"]
    seconds = latency.median_ms / 1e3
    return {
        "family": kernel.family,
        "copies": copies,
        "seconds": {"tvmq": seconds},
        "spread": {"tvmq": latency.spread_ms / 1e3},
        "bytes": kernel.moved,
        "bytes_s": kernel.moved / seconds,
    }


def _model(path: Path, clock: Clock | HostClock, has_torch: bool, rounds: int) -> Row:
    """Measure a whole model, its input on the GPU, beside PyTorch's in float16."""
    import numpy as np
    import tvm

    from ...runtime.package import load

    package = load(path)
    inputs = package.metadata["inputs"]
    rng = np.random.default_rng(0)
    feed = {
        each["name"]: tvm.runtime.tensor(rng.standard_normal(each["shape"]).astype(np.float32), tvm.cuda(0))
        for each in inputs
    }
    name, batch = path.stem.rsplit("-", 1)
    runs = {"tvmq": [lambda: package.run(feed, device_outputs=True)]}
    failed = {}
    for peer, make in peers.network_runs(name, int(batch)).items() if has_torch else ():
        try:
            runs[peer] = [make()]
        except Exception as error:
            failed[peer] = str(error).splitlines()[0][:200]
    found = measure(clock, runs, rounds)
    # The host gets far enough ahead that the GPU never waits for it.
    alone = sorted(clock.seconds(runs["tvmq"], LAUNCHES) for _ in range(rounds))
    # Whole runs from Python, one after another, each waited for: what a caller sees.
    calls = []
    for _ in range(rounds):
        start = time.perf_counter()
        package.run(feed, device_outputs=True)
        gpu.wait()
        calls.append(time.perf_counter() - start)
    kernels = sorted(package.profile(feed, 2), key=lambda each: -each.seconds)[:12]
    return {
        "batch": int(batch),
        "seconds": {each: latency.median_ms / 1e3 for each, latency in found.items()},
        "spread": {each: latency.spread_ms / 1e3 for each, latency in found.items()},
        "gpu_seconds": alone[len(alone) // 2],
        "call_seconds": sorted(calls)[len(calls) // 2],
        "slowest": [[each.kernel, ", ".join(each.layers)[:60], each.seconds] for each in kernels],
        "failed": failed,
    }
