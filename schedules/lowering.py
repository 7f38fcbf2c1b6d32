"""Scheduled kernels --> loops, vectors and calls that LLVM's code generation takes: TVM's passes for a CPU.

It is TVM's default list without what only GPUs need, and with one change. A hint that a loop is to be split where its
condition changes names the loop's variable, and narrowing indices to 32 bits gives the loop another: so in TVM's order
no hint is heard, and each vector of a loop with a tail is taken apart into its lanes. Here loops are split before
indices are narrowed, and conditions that have become constant go.
"""

from __future__ import annotations

import tvm
from tvm import s_tir, tirx


@tvm.transform.module_pass(opt_level=0, name="tvmq.Lower")
def lower(mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Lower every kernel of the module; the pass context's configuration counts as for ``tvm.compile``."""
    config = ctx.config

    def wanted(name: str) -> bool:
        return not config.get(name, False)

    passes = [
        # Blocks become loops, and their buffers are as large as what is alive.
        s_tir.transform.CanonicalizeLoop(),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.StmtSimplify(),
        s_tir.transform.AnnotateIrregularLoop(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.BF16ComputeLegalize(),
        # Loops become straight code and vectors.
        s_tir.transform.LoopPartition(),
        s_tir.transform.StmtSimplify(),
        tirx.transform.NarrowDataType(32),
        tirx.transform.VectorizeLoop(wanted("tirx.disable_vectorize")),
        *([tirx.transform.StorageRewrite()] if wanted("tirx.disable_storage_rewrite") else []),
        s_tir.transform.HoistIfThenElse(),
        tirx.transform.UnrollLoop(),
        s_tir.transform.RenormalizeSplitPattern(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        s_tir.transform.RewriteUnsafeSelect(),
        *([] if wanted("tirx.instrument_bound_checkers") else [s_tir.transform.InstrumentBoundCheckers()]),
        *([tirx.transform.CommonSubexprElim()] if wanted("tirx.disable_cse_tir") else []),
        # Functions that anyone can call.
        tirx.transform.FP8ComputeLegalize(),
        tirx.transform.VerifyMemory(),
        tirx.transform.AnnotateEntryFunc(),
        tirx.transform.SplitHostDevice(),
        tirx.transform.MakePackedAPI(),
        tirx.transform.FP8StorageLegalize(),
        tirx.transform.BF16StorageLegalize(),
        tirx.transform.LowerTVMBuiltin(),
        tirx.transform.LowerIntrin(),
    ]
    return tvm.transform.Sequential(passes)(mod)
