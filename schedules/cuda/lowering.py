"""Scheduled kernels of a GPU --> functions of the host that launch them, and what CUDA's code generation takes.

It is TVM's list of passes for GPUs without what no kernel here uses. Loops that are marked as unrolled stay loops,
which nvcc unrolls, and kernels that have barriers of their own (the attribute ``OWN_BARRIERS``) get no further ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.target import Target
from tvm.tirx.build import split_host_device_mods

from .functions import cuda_functions

OWN_BARRIERS = "tvmq.own_barriers"
"""Attribute of a kernel that calls ``tvmq_barrier`` wherever a thread reads from shared memory what another wrote."""

UNROLL = "tirx.UnrollLoop"


def lower(kernels: tvm.IRModule, target: Target) -> tuple[tvm.IRModule, tvm.IRModule]:
    """Return the lowered functions of the host and those of the GPU.

    The context's configuration counts as for ``tvm.compile``; ``tirx.UnrollLoop`` is of the host's code alone.

    Parameters
    ----------
    kernels : functions whose loops are bound to threads.
    target : of a GPU, with its host.
    """
    bound = tirx.transform.BindTarget(target)(kernels)
    context = tvm.transform.PassContext.current()
    mod = tvm.transform.Sequential(_passes(context.config))(bound)
    host, devices = split_host_device_mods(mod)
    host = tvm.transform.Sequential(
        [tirx.transform.SkipAssert(), tirx.transform.LowerTVMBuiltin(), tirx.transform.LowerIntrin()]
    )(host)
    finish = tvm.transform.Sequential(
        [tirx.transform.LowerWarpMemory(), tirx.transform.StmtSimplify(), tirx.transform.LowerIntrin()]
    )
    device = tvm.IRModule({})
    for part in devices.values():
        device.update(finish(part))
    return host, device


def _passes(config: Mapping[str, Any]) -> list[tvm.transform.Pass]:
    """Return the passes in order."""

    def is_set(name: str) -> bool:
        return bool(config.get(name, False))

    return [
        # Blocks become loops, and their buffers are as large as what is alive.
        s_tir.transform.CanonicalizeLoop(),
        s_tir.transform.LowerCrossThreadReduction(),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.LiftThreadBinding(),
        s_tir.transform.UnifyThreadBinding(),
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.StmtSimplify(),
        s_tir.transform.AnnotateIrregularLoop(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.BF16ComputeLegalize(),
        cuda_functions,
        # Loops become straight code and vectors.
        tirx.transform.NarrowDataType(32),
        s_tir.transform.LoopPartition(),
        tirx.transform.VectorizeLoop(not is_set("tirx.disable_vectorize")),
        *([] if is_set("tirx.disable_storage_rewrite") else [tirx.transform.StorageRewrite()]),
        s_tir.transform.HoistIfThenElse(),
        leave_unrolling,
        s_tir.transform.RenormalizeSplitPattern(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        s_tir.transform.RewriteUnsafeSelect(),
        *([s_tir.transform.InstrumentBoundCheckers()] if is_set("tirx.instrument_bound_checkers") else []),
        *([] if is_set("tirx.disable_cse_tir") else [tirx.transform.CommonSubexprElim()]),
        # Threads wait for one another.
        tirx.transform.FP8ComputeLegalize(),
        tirx.transform.VerifyMemory(),
        tirx.transform.AnnotateEntryFunc(),
        synchronize,
        s_tir.transform.InferFragment(),
        s_tir.transform.LowerThreadAllreduce(),
        s_tir.transform.MergeSharedMemoryAllocations(),
        # Functions of the host that anyone can call, and those that they launch.
        tirx.transform.SplitHostDevice(),
        tirx.transform.MakePackedAPI(),
        tirx.transform.FP8StorageLegalize(),
        tirx.transform.BF16StorageLegalize(),
    ]


@tvm.transform.module_pass(opt_level=0, name="tvmq.LeaveUnrolling")
def leave_unrolling(mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Let loops that are marked as unrolled stay: written out they would be far longer, and are no faster."""
    config = {**ctx.config, UNROLL: {"explicit_unroll": False}}
    with tvm.transform.PassContext(ctx.opt_level, disabled_pass=list(ctx.disabled_pass), config=config):
        return tirx.transform.UnrollLoop()(mod)


@tvm.transform.module_pass(opt_level=0, name="tvmq.Synchronize")
def synchronize(mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Put barriers around shared memory into the kernels that have none of their own."""
    others = {var: func for var, func in mod.functions.items() if not _has_barriers(func)}
    mod = mod.clone()
    sync = tvm.transform.Sequential([s_tir.transform.ThreadSync(s) for s in ("shared", "shared.dyn", "warp")])
    for var, func in sync(tvm.IRModule(others)).functions.items():
        mod.update_func(var, func)
    return mod


def _has_barriers(func: tvm.ir.BaseFunc) -> bool:
    return bool(func.attrs and func.attrs.get(OWN_BARRIERS))
