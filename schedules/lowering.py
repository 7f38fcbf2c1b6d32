"""Scheduled kernels --> loops, vectors and calls that LLVM's code generation takes: TVM's passes for a CPU.

It is TVM's default list without what only GPUs need, and with one change. A hint that a loop is to be split where its
condition changes names the loop's variable, and narrowing indices to 32 bits gives the loop another: so in TVM's order
no hint is heard, and each vector of a loop with a tail is taken apart into its lanes. Here loops are split before
indices are narrowed, conditions that have become constant go, and the vector at the end of a row is as short as what is
left of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm.s_tir import SBlock

from ..passes.realize.compute.annotations import FLAT
from ..targets.intrinsics import LLVM_CODE


@tvm.transform.module_pass(opt_level=0, name="tvmq.SimplifyIndices")
def simplify_indices(mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Simplify what comes before buffers are flat, but for kernels whose blocks are all marked ``FLAT``.

    Of x // 9, x % 9 // 3 and x % 3, each simplified by itself, flat buffers make what adds up to x no more, and vectors
    gather their numbers one by one. As they come they are x; other indices lose their offsets that way.
    """
    flat = {var for var, func in mod.functions.items() if isinstance(func, tirx.PrimFunc) and _is_flat(func)}
    others = {var: func for var, func in mod.functions.items() if var not in flat}
    mod = mod.clone()
    for var, func in s_tir.transform.StmtSimplify()(tvm.IRModule(others)).functions.items():
        mod.update_func(var, func)
    return mod


def _is_flat(func: tirx.PrimFunc) -> bool:
    marks: list[bool] = []
    tvm_ffi.structural_walk(func.body, [(SBlock, lambda block: marks.append(FLAT in block.annotations))])
    return len(marks) > 1 and all(marks[:-1])  # the last is the root


ALIGNMENT = 16
"""Bytes that a tensor's address is a multiple of: what malloc gives, and so NumPy and others. With TVM's 64 most inputs
would have to be copied first; the instructions that take any address are as fast on those that 64 divides.
"""


def lower_by(convention: tvm.transform.Pass) -> tvm.transform.Pass:
    """Return the pass that lowers every kernel of a module; the context's configuration counts as for ``tvm.compile``.

    Parameters
    ----------
    convention : decides how the kernels are called: it makes functions of plain arguments out of those of buffers.
    """

    @tvm.transform.module_pass(opt_level=0, name="tvmq.Lower")
    def lower(mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
        return tvm.transform.Sequential(_passes(ctx.config, convention))(mod)

    return lower


def _passes(config: Mapping[str, Any], convention: tvm.transform.Pass) -> list[tvm.transform.Pass]:
    """Return the passes in order."""

    def is_set(name: str) -> bool:
        return bool(config.get(name, False))

    return [
        # Blocks become loops, and their buffers are as large as what is alive.
        s_tir.transform.CanonicalizeLoop(),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerMatchBuffer(),
        simplify_indices,
        s_tir.transform.AnnotateIrregularLoop(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        s_tir.transform.StmtSimplify(),
        tirx.transform.BF16ComputeLegalize(),
        # Loops become straight code and vectors.
        s_tir.transform.LoopPartition(),
        s_tir.transform.StmtSimplify(),
        shorten_vectors,
        tirx.transform.NarrowDataType(32),
        tirx.transform.VectorizeLoop(not is_set("tirx.disable_vectorize")),
        *([] if is_set("tirx.disable_storage_rewrite") else [tirx.transform.StorageRewrite()]),
        s_tir.transform.HoistIfThenElse(),
        tirx.transform.UnrollLoop(),
        s_tir.transform.RenormalizeSplitPattern(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        s_tir.transform.RewriteUnsafeSelect(),
        *([s_tir.transform.InstrumentBoundCheckers()] if is_set("tirx.instrument_bound_checkers") else []),
        *([] if is_set("tirx.disable_cse_tir") else [tirx.transform.CommonSubexprElim()]),
        # Functions that anyone can call.
        tirx.transform.FP8ComputeLegalize(),
        tirx.transform.VerifyMemory(),
        tirx.transform.AnnotateEntryFunc(),
        tirx.transform.SplitHostDevice(),
        take_any_address,
        bring_llvm_code,
        convention,
        # The virtual machine checks what it is given, once; a third of LLVM's work was in the checks of each kernel.
        tirx.transform.SkipAssert(),
        tirx.transform.FP8StorageLegalize(),
        tirx.transform.BF16StorageLegalize(),
        tirx.transform.LowerTVMBuiltin(),
        tirx.transform.LowerIntrin(),
    ]


@tvm.transform.module_pass(opt_level=0, name="tvmq.TakeAnyAddress")
def take_any_address(mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Let kernels take tensors that start at any multiple of ``ALIGNMENT`` bytes."""
    mod = mod.clone()
    for var, func in mod.functions.items():
        if isinstance(func, tirx.PrimFunc):
            buffers = [param for param in func.params if isinstance(param.ty, tirx.BufferType)]
            mod.update_func(var, _renamed(func, {buffer: _aligned(buffer) for buffer in buffers}))
    return mod


@tvm.transform.module_pass(opt_level=0, name="tvmq.BringLlvmCode")
def bring_llvm_code(mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Put the functions of ``LLVM_CODE`` before the kernels that call them."""
    mod = mod.clone()
    for var, func in mod.functions.items():
        if isinstance(func, tirx.PrimFunc):
            body = func.body
            for name in sorted(_llvm_functions(body)):
                code = tvm.ir.StringImm(LLVM_CODE[name])
                body = tirx.AttrStmt(tirx.IntImm("int32", 0), "pragma_import_llvm", code, body)
            mod.update_func(var, func.with_body(body))
    return mod


def _llvm_functions(body: tirx.Stmt) -> set[str]:
    """Return the names in ``LLVM_CODE`` that the body calls."""
    found: set[str] = set()
    tvm_ffi.structural_walk(body, [(tvm.ir.StringImm, lambda text: found.add(str(text.value)))])
    return found & LLVM_CODE.keys()


def _renamed(func: tirx.PrimFunc, others: dict[tirx.Var, tirx.Var]) -> tirx.PrimFunc:
    return tvm_ffi.structural_map(func, [(tvm.ir.Var, lambda var: others.get(var, var))])


def _aligned(buffer: tirx.Buffer) -> tirx.Buffer:
    return tirx.decl_buffer(
        buffer.shape,
        buffer.dtype,
        buffer.name,
        data=buffer.data,
        strides=buffer.strides,
        elem_offset=buffer.elem_offset,
        scope=buffer.scope(),
        data_alignment=ALIGNMENT,
        offset_factor=buffer.offset_factor,
    )


@tvm.transform.module_pass(opt_level=0, name="tvmq.ShortenVectors")
def shorten_vectors(mod: tvm.IRModule, ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Let a vector loop end where a condition on its lanes does, which would take its vectors apart.

    for lane in vectorized(16): if lane < 5: f(lane)  -->  for lane in vectorized(5): f(lane)
    """
    mod = mod.clone()
    for var, func in mod.functions.items():
        if isinstance(func, tirx.PrimFunc):
            mod.update_func(var, tvm_ffi.structural_map(func, [(tirx.For, _shortened)]))
    return mod


def _shortened(loop: tirx.For) -> tirx.For:
    body = loop.body
    if (
        loop.kind != tirx.ForKind.VECTORIZED
        or not isinstance(body, tirx.IfThenElse)
        or body.else_case is not None
    ):
        return loop
    lanes = _lanes_of(body.condition, loop.loop_var)
    if lanes is None or not 0 < lanes < int(loop.extent):
        return loop
    kind = loop.kind if lanes > 1 else tirx.ForKind.SERIAL
    return tirx.For(loop.loop_var, loop.min, tirx.IntImm(loop.loop_var.ty, lanes), kind, body.then_case)


def _lanes_of(condition: tirx.Expr, lane: tirx.Var) -> int | None:
    """Return n for the condition ``lane < n``; None for any other."""
    if isinstance(condition, tirx.LT) and condition.a.same_as(lane) and isinstance(condition.b, tirx.IntImm):
        return int(condition.b)
    return None


lower = lower_by(tirx.transform.MakePackedAPI())
"""To functions that TVM's runtime calls."""
