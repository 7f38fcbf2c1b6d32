"""The kernels of a model that can be tuned, each once however often it is called."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tvm
from tvm import relax, tirx
from tvm.s_tir import Schedule

from ..passes.hub.graph import bindings_of, op_name
from ..passes.realize.compute.annotations import KERNEL, NARROW, TAIL
from ..schedules.blocks import root_blocks
from ..schedules.pipeline import to_kernels
from ..schedules.workload import hash_of, workload_of
from ..targets.bit_products import DEPTH
from ..targets.features import threads_of
from ..targets.row import TargetRow
from .spaces import has_candidates


@dataclass(frozen=True)
class Task:
    """One kernel to tune.

    Attributes
    ----------
    name : the kernel's name.
    func : the kernel itself, with its constants, not scheduled.
    workload : what its records are found by (``schedules.workload``), and that module's hash.
    layers : the nodes of the user's model that its calls compute.
    calls : how often the model runs it.
    macs : multiply-adds of one call, those in padding included; 0 of a kernel without an accumulator.
    """

    name: str
    func: tirx.PrimFunc
    workload: tvm.IRModule
    hash: str
    layers: tuple[str, ...]
    calls: int
    macs: int


def extract_tasks(mod: tvm.IRModule, target: tvm.target.Target, row: TargetRow) -> list[Task]:
    """Return the tasks of a module that is ready for ``schedules.pipeline.build``, in the order of their first calls.

    A kernel in which there is nothing to choose is no task: on CPUs one without an accumulator.
    """
    mod, kernels = to_kernels(mod, target, row)
    moving = _called(
        relax.transform.RewriteDataflowReshape()(mod)
    )  # kernels that move nothing are no kernels
    calls: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    functions: dict[str, tuple[str, tirx.PrimFunc, tvm.IRModule]] = {}
    for name, layers in kernels:
        if name not in moving:
            continue
        func = mod[name].with_attr("global_symbol", "main")
        workload = workload_of(func)
        key = hash_of(workload)
        functions.setdefault(key, (name, func, workload))
        calls.setdefault(key, []).extend(layers)
        counts[key] = counts.get(key, 0) + 1
    return [
        Task(name, func, workload, key, tuple(calls[key]), counts[key], _macs(func))
        for key, (name, func, workload) in functions.items()
        if has_candidates(func, row, threads_of(target))
    ]


def _called(mod: tvm.IRModule) -> set[str]:
    """Return the names of the kernels that ``main`` calls."""
    calls = (binding.value for binding in bindings_of(mod))
    return {call.args[0].name_hint for call in calls if op_name(call) == "relax.call_tir"}


def _macs(func: tirx.PrimFunc) -> int:
    """Return the multiply-adds of a kernel's accumulator; 0 without one."""
    sch = Schedule(func)
    blocks = [sch.get(block) for block in root_blocks(sch)]
    accumulators, narrow = (
        [block for block in blocks if mark in block.annotations] for mark in (KERNEL, NARROW)
    )
    if not accumulators:
        return 0
    sums = (narrow or accumulators)[0]
    products = DEPTH if TAIL in sums.annotations else 1
    return products * math.prod(int(var.dom.extent) for var in sums.iter_vars)
