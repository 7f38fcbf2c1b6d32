"""Time on the GPU between two events, with a cold cache, contenders in turn.

    fill memory (the cache forgets, the host gets ahead);  event;  run;  event       of each contender, round by round

While the GPU fills memory the host has issued what is measured, so that neither Python nor the launch is in it.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import TvmqError
from ...runtime import gpu
from ..latency import Latency, summary

Run = Callable[[], Any]

FILL_BYTES = 256 << 20
"""More than any second-level cache has."""
LAUNCHES_A_FILL = 8
"""Calls that the host can issue while so much is filled."""


def cudart() -> Any:
    """Return CUDA's runtime, which is loaded already."""
    return ctypes.CDLL("libcudart.so.13")


class Clock:
    """Events of CUDA's runtime, which is loaded already, in the default stream."""

    def __init__(self) -> None:
        gpu.load_gpu_runtime()
        self._cudart = cudart()
        self._fill = gpu.empty((FILL_BYTES,), "uint8")
        self._events = [self._event(), self._event()]

    def _event(self) -> ctypes.c_void_p:
        event = ctypes.c_void_p()
        self._check(self._cudart.cudaEventCreate(ctypes.byref(event)))
        return event

    def _check(self, code: int) -> None:
        if code:
            self._cudart.cudaGetErrorString.restype = ctypes.c_char_p
            raise TvmqError(f"CUDA says {self._cudart.cudaGetErrorString(code).decode()!r}")

    def fill(self, times: int = 1) -> None:
        """Issue a write of more memory than the caches hold."""
        for _ in range(times):
            pointer = ctypes.c_void_p(self._fill.data_ptr())
            self._check(
                self._cudart.cudaMemsetAsync(pointer, 0, ctypes.c_size_t(FILL_BYTES), ctypes.c_void_p())
            )

    def copy_seconds(self, size: int) -> float:
        """Return the seconds of a copy of so many bytes on the GPU."""
        source, destination = (gpu.empty((size,), "uint8") for _ in range(2))

        def copy() -> None:
            gpu.copy(source, destination)

        return measure(self, {"copy": [copy]}, 20)["copy"].median_ms / 1e3

    def seconds(self, runs: Sequence[Run], launches: int = 1) -> float:
        """Return the seconds from the first of the runs to the last, issued together, each of so many launches."""
        start, stop = self._events
        self.fill(2 + len(runs) * launches // LAUNCHES_A_FILL)
        self._check(self._cudart.cudaEventRecord(start, ctypes.c_void_p()))
        for run in runs:
            run()
        self._check(self._cudart.cudaEventRecord(stop, ctypes.c_void_p()))
        self._check(self._cudart.cudaEventSynchronize(stop))
        milliseconds = ctypes.c_float()
        self._check(self._cudart.cudaEventElapsedTime(ctypes.byref(milliseconds), start, stop))
        return milliseconds.value / 1e3


class HostClock:
    """What stands in for it where no GPU is: the host's clock."""

    def copy_seconds(self, size: int) -> float:
        source = np.zeros(size, np.uint8)
        start = time.perf_counter()
        source.copy()
        return time.perf_counter() - start

    def seconds(self, runs: Sequence[Run], launches: int = 1) -> float:
        start = time.perf_counter()
        for run in runs:
            run()
        gpu.wait()
        return time.perf_counter() - start


def measure(
    clock: Clock | HostClock, contenders: Mapping[str, Sequence[Run]], rounds: int
) -> dict[str, Latency]:
    """Return the time of a run of each contender: the median over the rounds, in which each has one turn.

    Parameters
    ----------
    contenders : runs that follow one another in a turn, such as those of copies of the arguments.
    """
    for runs in contenders.values():
        clock.seconds(runs)  # compiles, allocates, and loads code
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, runs in contenders.items():
            seconds[name].append(clock.seconds(runs) / len(runs))
    return {name: summary(np.array(values) * 1e3) for name, values in seconds.items()}
