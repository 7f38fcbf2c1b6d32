"""Building a kernel and running it on random data, on this machine."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import tirx
from tvm.s_tir.meta_schedule.arg_info import ArgInfo, TensorInfo

from ..runtime.workers import run_kernels
from ..schedules.code import compile_kernel

Evaluate = Callable[[int, int, int], Sequence[float]]
"""``(number, repeat, minimum_ms) -> seconds``: ``repeat`` times, each the mean of at least ``number`` runs, and of so
many that they take ``minimum_ms`` together."""

Prepare = Callable[[tirx.PrimFunc, tvm.target.Target], Evaluate]
"""Builds a scheduled function for a target."""


def prepare_here(func: tirx.PrimFunc, target: tvm.target.Target) -> Evaluate:
    """Build the function for this machine."""
    library = compile_kernel(func, target)

    def evaluate(number: int, repeat: int, minimum_ms: int) -> Sequence[float]:
        device = tvm.cpu()
        arrays = [tvm.runtime.tensor(array, device) for array in random_arguments(func)]
        # Its first run is not timed.
        timer = library.time_evaluator("main", device, number=number, repeat=repeat, min_repeat_ms=minimum_ms)
        return run_kernels(target.attrs.get("num-cores"), lambda: timer(*arrays).results)

    return evaluate


@dataclass(frozen=True)
class Configured:
    """A ``Prepare`` under options of TVM's passes; contexts of the caller's thread would not reach it."""

    prepare: Prepare
    config: tuple[tuple[str, Any], ...]

    def __call__(self, func: tirx.PrimFunc, target: tvm.target.Target) -> Evaluate:
        with tvm.transform.PassContext(opt_level=3, config=dict(self.config)):
            return self.prepare(func, target)


def random_arguments(func: tirx.PrimFunc) -> list[np.ndarray]:
    """Return an array for each parameter; the same ones each time."""
    rng = np.random.default_rng(zlib.crc32(b"arguments"))
    return [_filled(rng, info) for info in ArgInfo.from_prim_func(func)]


def _filled(rng: np.random.Generator, info: TensorInfo) -> np.ndarray:
    shape, dtype = [int(extent) for extent in info.shape], np.dtype(str(info.dtype))
    if dtype.kind in "iu":
        # All values of a byte; wider integers are sums and offsets, and must not overflow.
        limits = np.iinfo(dtype) if dtype.itemsize == 1 else np.iinfo(np.int8)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return rng.standard_normal(shape).astype(dtype)
