"""What stands for measuring on a GPU: picklable, since a GPU's candidates are built and run in fresh processes."""

from __future__ import annotations

import os
from collections.abc import Sequence

import tvm
from tvm import tirx
from tvm.target import Target

from tests import emulated_gpu
from tests.gpu import gpu
from tvmq.schedules.code import compile_kernel
from tvmq.tuning import on_gpu
from tvmq.tuning.evaluate import Evaluate, random_arguments

SECONDS_AN_INSTRUCTION = 1e-9


def instant(func: tirx.PrimFunc, target: Target) -> Evaluate:
    """A number that the kernel's text gives."""
    seconds = 1e-6 * (1 + len(func.script()) % 97)
    return lambda number, repeat, minimum_ms: [seconds] * repeat


def counted(func: tirx.PrimFunc, target: Target) -> Evaluate:
    """Run the kernel on the emulated GPU; its time is how many instructions of warps that took."""
    with gpu():
        library = compile_kernel(func, target)

    def evaluate(number: int, repeat: int, minimum_ms: int) -> Sequence[float]:
        arrays = [tvm.runtime.tensor(array, tvm.cuda(0)) for array in random_arguments(func)]
        with emulated_gpu.counted() as launches:
            library["main"](*arrays)
        total = sum(sum(launch["instructions"].values()) for launch in launches)
        return [(1 + total) * SECONDS_AN_INSTRUCTION] * repeat

    return evaluate


def timed(func: tirx.PrimFunc, target: Target) -> Evaluate:
    """Prepare as for a GPU of this machine; it is the emulated one."""
    with gpu():
        return on_gpu.prepare_on_gpu(func, target)


def dies(func: tirx.PrimFunc, target: Target) -> Evaluate:
    """End the process in place of a run."""
    return lambda number, repeat, minimum_ms: os._exit(3)


def faults(func: tirx.PrimFunc, target: Target) -> Evaluate:
    """Run the kernel on arrays of other sizes."""
    with gpu():
        library = compile_kernel(func, target)

    def evaluate(number: int, repeat: int, minimum_ms: int) -> Sequence[float]:
        small = [tvm.runtime.empty((1,), array.dtype.name, tvm.cuda(0)) for array in random_arguments(func)]
        library["main"](*small)
        return [1.0]

    return evaluate
