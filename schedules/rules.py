"""The schedule rules in the order in which they are tried, and the pass that applies them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import tvm
from tvm import tirx
from tvm.s_tir import ScheduleError

from ..passes.hub.scopes import without_scopes
from ..targets.row import TargetRow
from .bits import bits_kernel
from .cpu.attention import attention_kernel
from .cpu.contraction import schedule_contraction
from .cpu.depthwise_weight_sums import depthwise_weight_sums_kernel
from .cpu.loops import schedule_loops
from .cpu.packing import schedule_packing
from .cpu.phases import schedule_phases
from .cpu.rows import schedule_rows
from .cpu.weight_sums import weight_sums_kernel
from .cuda.kernels import cuda_kernel
from .schedule import Schedule
from .tables import table_kernel

logger = logging.getLogger(__name__)

Rule = Callable[[Schedule, TargetRow, int], str]
"""``(schedule, row, threads) -> ""`` and the schedule is done; or the reason why the rule does not apply."""

RULES: tuple[Rule, ...] = (
    schedule_contraction,
    schedule_packing,
    schedule_phases,
    schedule_rows,
    schedule_loops,
)


@tvm.transform.module_pass(opt_level=0, name="tvmq.ScheduleKernels")
@dataclass(frozen=True)
class ScheduleKernels:
    """Give every function that has no schedule yet that of the first rule that applies.

    Attributes
    ----------
    threads : how many threads a kernel is to keep busy.
    """

    row: TargetRow
    threads: int = 1

    def transform_module(self, mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
        updated = {}
        for var, func in mod.functions.items():
            if isinstance(func, tirx.PrimFunc) and not (func.attrs and "tirx.is_scheduled" in func.attrs):
                updated[var] = without_scopes(schedule(func, self.row, self.threads, var.name_hint))
        mod = mod.clone()
        for var, func in updated.items():
            mod.update_func(var, func)
        return mod


def schedule(func: tirx.PrimFunc, row: TargetRow, threads: int, name: str) -> tirx.PrimFunc:
    """Return the function scheduled by the first rule that applies; as it is where none does.

    One that only looks up in a table, makes bits, or is an attention needs no schedule: ``tables``, ``bits`` and
    ``cpu.attention`` have its code.

    What a rule did not foresee costs speed, with a warning, and never the compilation.
    """
    if row.gpu is not None:
        return cuda_kernel(func, row)
    ready = (
        table_kernel(func, row)
        or bits_kernel(func)
        or attention_kernel(func, row, threads)
        or weight_sums_kernel(func, row, threads)
        or depthwise_weight_sums_kernel(func, row, threads)
    )
    if ready is not None:
        return ready
    for rule in RULES:
        sch = Schedule(func)
        try:
            refusal = rule(sch, row, threads)
        except ScheduleError as error:
            refusal = _last_line(error)
        except (ValueError, TypeError, RuntimeError) as error:  # what TVM's own checks throw
            refusal = _last_line(error)
            logger.warning("%s: %s failed, so it may be slow: %s", name, rule.__name__, refusal)
        if not refusal:
            return sch.mod["main"].with_attr("tirx.is_scheduled", True)
        logger.debug("%s: %s does not apply: it %s", name, rule.__name__, refusal)
    return func


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
