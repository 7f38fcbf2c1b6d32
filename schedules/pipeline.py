"""From a Relax module to code: the phases, top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tvm
from tvm import relax

from ..targets.rows import TargetRow
from .float_kernels import legalize_map
from .kernel_table import KernelTable
from .records import apply_records
from .rules import ScheduleKernels

DEFAULT_THREADS = 4
"""Threads that kernels are cut up for where the target does not say: enough chunks for most boards and laptops."""


@dataclass(frozen=True)
class Built:
    """Code, and which nodes of the user's model each of its kernel calls computes, in order."""

    executable: relax.VMExecutable
    kernels: list[tuple[str, list[str]]]
    mod: tvm.IRModule


def legalize(row: TargetRow) -> tvm.transform.Pass:
    """Phase 1: operators become loops."""
    return tvm.transform.Sequential(
        [
            relax.transform.LegalizeOps(legalize_map(row)),
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FoldConstant(),
        ]
    )


def fuse() -> tvm.transform.Pass:
    """Phase 2: chains of operators become one function each."""
    return tvm.transform.Sequential(
        [relax.transform.FuseOps(), relax.transform.FuseTIR(), relax.transform.DeadCodeElimination()]
    )


def to_virtual_machine() -> tvm.transform.Pass:
    """Phase 4: Relax becomes calls of the virtual machine, with memory planned ahead."""
    return tvm.transform.Sequential(
        [
            relax.transform.RewriteDataflowReshape(),
            relax.transform.ToNonDataflow(),
            relax.transform.RemovePurityChecking(),
            relax.transform.CallTIRRewrite(),
            relax.transform.StaticPlanBlockMemory(),
            relax.transform.LowerAllocTensor(),
            relax.transform.KillAfterLastUse(),
            relax.transform.LowerRuntimeBuiltin(),
            relax.transform.ComputePrimValue(),
            relax.transform.VMShapeLower(),
            relax.transform.AttachGlobalSymbol(),
        ]
    )


def build(mod: tvm.IRModule, target: tvm.target.Target, row: TargetRow, records: Path | None = None) -> Built:
    """Compile a Relax module in NHWC, integer or float or both.

    The kernels are cut up for the target's ``num-cores``.

    Parameters
    ----------
    records : folder of tuned records; kernels that have one are scheduled by it, all others by the rules.

    Raises
    ------
    TvmqError : the records cannot be read.
    """
    threads = int(target.attrs.get("num-cores", 0)) or DEFAULT_THREADS
    table = KernelTable(mod)
    with target:
        mod = fuse()(legalize(row)(mod))
        kernels = table.kernels(mod)
        if records is not None:
            mod = apply_records(mod, records, row)
        mod = ScheduleKernels(row, threads)(mod)
        executable = tvm.compile(mod, target=target, relax_pipeline=to_virtual_machine())
    return Built(executable, kernels, mod)
