"""What stands for measuring on a GPU: picklable, since a GPU's candidates are built and run in fresh processes."""

from __future__ import annotations

import os
from collections.abc import Sequence

import tvm

from tests import emulated_gpu
from tests.gpu import gpu
from tvmq.tuning import on_gpu
from tvmq.tuning.evaluate import Evaluate, random_arguments

SECONDS_AN_INSTRUCTION = 1e-9


def counted(func: tvm.tirx.PrimFunc, target: tvm.target.Target) -> Evaluate:
    """Run the kernel on the emulated GPU; its time is how many instructions of warps that took."""
    from tvmq.schedules.cuda.code import compile_kernel

    with gpu():
        library = compile_kernel(func, target)

    def evaluate(number: int, repeat: int, minimum_ms: int) -> Sequence[float]:
        arrays = [tvm.runtime.tensor(array, tvm.cuda(0)) for array in random_arguments(func)]
        with emulated_gpu.counted() as launches:
            library["main"](*arrays)
        total = sum(sum(launch["instructions"].values()) for launch in launches)
        return [total * SECONDS_AN_INSTRUCTION] * repeat

    return evaluate


def timed(func: tvm.tirx.PrimFunc, target: tvm.target.Target) -> Evaluate:
    """Prepare as for a GPU of this machine; it is the emulated one."""
    with gpu():
        return on_gpu.prepare_on_gpu(func, target)


def dies(func: tvm.tirx.PrimFunc, target: tvm.target.Target) -> Evaluate:
    """Build, and end the process where it would run."""
    return lambda number, repeat, minimum_ms: os._exit(3)


def reads_outside(func: tvm.tirx.PrimFunc, target: tvm.target.Target) -> Evaluate:
    """Run the kernel on arrays that are too small."""
    with gpu():
        from tvmq.schedules.cuda.code import compile_kernel

        library = compile_kernel(func, target)
    return lambda number, repeat, minimum_ms: library["main"](*[
        tvm.runtime.empty((1,), str(array.dtype), tvm.cuda(0)) for array in random_arguments(func)
    ])
