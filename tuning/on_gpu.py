"""Times of a kernel on a GPU, this machine's or one behind TVM's RPC.

    main(a0, b0, c0, a1, b1, c1, ...) = kernel(a0, b0, c0); kernel(a1, b1, c1); ...

A small kernel takes less time than its launch, so one time covers many launches in a row, as one CUDA graph. In a model
other kernels have run since a kernel last had its weights, so a kernel that finds its arguments in the second-level
cache looks faster than it is: each launch of a row has other arguments, as far as memory goes round, and the cache is
overwritten in front of each row. Arguments are as cold for one candidate as for the other.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import tvm
from tvm import relax, tirx
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.target import Target

from ..errors import TvmqError
from ..runtime.gpu import load_gpu_runtime
from ..schedules.blocks import bytes_of
from ..schedules.cuda.code import generate_for_gpu
from ..schedules.cuda.device_code import GpuExecutable
from ..schedules.cuda.graphs import with_graphs
from ..schedules.pipeline import to_virtual_machine
from ..schedules.stored_weights import INPUTS
from ..targets.features import capability_of, row_of, row_of_gpu
from .evaluate import Evaluate, random_arguments

LAUNCHES = 16
"""In a row, which is timed."""

MOST_ROWS = 100
"""For one time, whatever ``min_repeat_ms`` says: the cache is overwritten in front of each."""

KERNEL = "kernel"


def prepare_on_gpu(func: tirx.PrimFunc, target: Target) -> Evaluate:
    """Build a kernel for this machine's GPU; raises ``TvmqError`` where there is none."""
    load_gpu_runtime()
    executable = launches_of(func, target)

    def evaluate(number: int, repeat: int, minimum_ms: int) -> Sequence[float]:
        return times(executable, func, target, tvm.cuda(0), tvm.cpu(), (number, repeat, minimum_ms))

    return evaluate


def refuse_other_gpu(capability: int, target: Target, where: str) -> None:
    """Raise ``TvmqError`` where kernels for the target are to be measured on a GPU for which there are others.

    Parameters
    ----------
    capability : of the GPU, ten times NVIDIA's number.
    where : what has it.
    """
    rows = row_of_gpu(f"sm_{capability}"), row_of(target)
    for_one_alone = str(target.attrs["arch"])[-1].isalpha()
    is_other = rows[0].gpu.capability != rows[1].gpu.capability
    if is_other or (for_one_alone and capability_of(target) != capability):
        raise TvmqError(
            f"the GPU of {where} is of sm_{capability}, which other records are for: tune for "
            f"'cuda -arch=sm_{capability}', or measure on a GPU of {target.attrs['arch']}"
        )


def launches_of(func: tirx.PrimFunc, target: Target) -> GpuExecutable:
    """Return an executable whose ``main`` launches a kernel ``LAUNCHES`` times; it takes all arguments of all sets."""
    builder = relax.BlockBuilder()
    kernel = builder.add_func(func.without_attr("global_symbol"), KERNEL)
    infos = ArgInfo.from_prim_func(func)
    sets = [
        [relax.Var(f"x{number}", relax.TensorType(list(info.shape), str(info.dtype))) for info in infos]
        for number in range(sets_of(func, target))
    ]
    attrs = {
        "relax.force_pure": True,
        INPUTS: 0,
    }  # all arguments stay where they are, so that graphs may have them
    with builder.function("main", [var for each in sets for var in each], attrs=attrs):
        for launch in range(LAUNCHES):
            builder.emit(relax.Call(kernel, sets[launch % len(sets)], None, [relax.TupleType([])]))
        # TVM's virtual machine fails where nobody reads what a graph returns, and a call of its own is in no graph.
        kept = builder.emit(relax.TupleGetItem(builder.emit(relax.Tuple(sets[0][-1:])), 0))
        copy = relax.Call(relax.ExternFunc("vm.builtin.copy"), [kept], None, [sets[0][-1].ty])
        builder.emit_func_output(builder.emit(copy))
    with target:
        return generate_for_gpu(to_virtual_machine()(with_graphs(builder.get())), target)


def sets_of(func: tirx.PrimFunc, target: Target) -> int:
    """Return how many sets of arguments there are: twice what the second-level cache holds, or one a launch."""
    held = max(1, sum(map(bytes_of, func.params)))
    return min(LAUNCHES, 1 + math.ceil(2 * row_of(target).l2_bytes / held))


def times(
    executable: relax.VMExecutable | tvm.runtime.Module,
    func: tirx.PrimFunc,
    target: Target,
    gpu: tvm.runtime.Device,
    host: tvm.runtime.Device,
    asked: tuple[int, int, int],
) -> list[float]:
    """Return times of a launch in seconds.

    Parameters
    ----------
    executable : what ``launches_of`` returned, or its library on another machine.
    asked : arguments of ``Evaluate``.
    """
    number, repeat, minimum_ms = asked
    machine = relax.VirtualMachine(executable, [gpu, host])
    first = [tvm.runtime.tensor(array, gpu) for array in random_arguments(func)]
    arguments = list(first)
    for _ in range(sets_of(func, target) - 1):
        for tensor in first:
            arguments.append(tensor.copyto(tvm.runtime.empty(tensor.shape, str(tensor.dtype), gpu)))

    def rows(count: int) -> Sequence[float]:
        timer = machine.module.time_evaluator(
            "main", gpu, number=1, repeat=count, cache_flush_bytes=row_of(target).l2_bytes
        )
        return timer(*arguments).results

    needed = math.ceil(minimum_ms / 1e3 / max(rows(1)[0], 1e-9))
    count = max(math.ceil(number / LAUNCHES), min(needed, MOST_ROWS), 1)
    found = rows(repeat * count)
    return [statistics.mean(found[start::repeat]) / LAUNCHES for start in range(repeat)]
