"""The candidates of a kernel: ways through a schedule rule on CPUs, through the writing of the kernel on GPUs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from tvm import tirx
from tvm.s_tir import Schedule

from ..schedules.cpu.contraction import schedule_contraction
from ..schedules.cuda.choices import noted, noting, write_noted
from ..schedules.cuda.kernels import cuda_kernel
from ..schedules.space import Decide
from ..targets.row import TargetRow
from .candidates import Candidates, Walk


def candidates_of(func: tirx.PrimFunc, row: TargetRow, threads: int, rng: np.random.Generator) -> Candidates:
    """Return the candidates of a kernel that has some (``has_candidates``)."""
    if row.gpu is None:
        return Candidates(partial(_on_cpu, func, row, threads), rng)
    return Candidates(partial(_on_gpu, func, row), rng, partial(write_noted, row=row))


def has_candidates(func: tirx.PrimFunc, row: TargetRow, threads: int) -> bool:
    """Tell whether there is something to choose in a kernel."""
    if row.gpu is None:
        return not schedule_contraction(Schedule(func), row, threads)
    walk = Walk(None, {})
    try:
        cuda_kernel(func, row, walk)
    except ValueError:  # compilation says what is wrong with it
        return False
    return any(len(candidates) > 1 for candidates in walk.candidates.values())


def _on_cpu(func: tirx.PrimFunc, row: TargetRow, threads: int, decide: Decide) -> Schedule:
    sch = Schedule(func)
    schedule_contraction(sch, row, threads, decide)
    return sch


def _on_gpu(func: tirx.PrimFunc, row: TargetRow, decide: Decide) -> Schedule:
    choices: dict[str, Any] = {}
    cuda_kernel(func, row, noting(decide, choices))
    return noted(func, choices)
