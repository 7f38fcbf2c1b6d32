"""From a Relax module to code: the phases, top to bottom."""

from __future__ import annotations

import tvm
from tvm import relax

from ..targets.rows import TargetRow
from .float_kernels import legalize_map
from .rules import ScheduleKernels


def lowering(row: TargetRow, threads: int) -> tvm.transform.Pass:
    """Return the passes from a Relax module in NHWC, integer or float, to scheduled kernels and VM calls."""
    return tvm.transform.Sequential(
        [
            # Phase 1: operators become loops, and chains of them one function each.
            relax.transform.LegalizeOps(legalize_map(row)),
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FoldConstant(),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.DeadCodeElimination(),
            # Phase 2: every function gets a schedule.
            ScheduleKernels(row, threads),
            # Phase 3: Relax to calls of the virtual machine, with memory planned ahead.
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


def build(mod: tvm.IRModule, target: tvm.target.Target, row: TargetRow, threads: int) -> relax.VMExecutable:
    """Return the executable of a Relax module in NHWC."""
    return tvm.compile(mod, target=target, relax_pipeline=lowering(row, threads))
