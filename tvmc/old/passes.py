"""Names of passes, and of their options, in old versions of TVM --> the names that they have now.

    tir.VectorizeLoop        tirx.VectorizeLoop
    tir.disable_vectorize    tirx.disable_vectorize
    AlterOpLayout            nothing: one of Relay's, with a line that says so

Whether there is such a pass, or such an option, is for the caller to check.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

logger = logging.getLogger(__name__)

RELAY_PASSES = frozenset(
    """
    AlterOpLayout AnnotateSpans AnnotateTarget AnnotateUsedMemory AutoSchedulerLayoutRewrite BackwardFoldScaleAxis
    CanonicalizeCast CanonicalizeOps CapturePostDfsIndexInSpans CollagePartition CombineParallelBatchMatmul
    CombineParallelConv2D CombineParallelDense CombineParallelOpBatch Defunctionalization DefuseOps DenseToSparse
    DivToMul DynamicToStatic EtaExpand FakeQuantizationToInteger FastMath FirstOrderGradient FlattenAtrousConv
    FoldExplicitPadding FoldScaleAxis ForwardFoldScaleAxis InferType Inline InlinePrimitives LazyGradientInit
    Legalize ManifestLifetimes MergeCompilerRegions MergeComposite MetaScheduleLayoutRewrite PartialEvaluate
    PartitionGraph PlanDevices RemoveStandaloneReshapes RemoveUnusedFunctions SimplifyExpr SimplifyExprPostAlterOp
    SimplifyFCTranspose SimplifyInference SplitArgs ToANormalForm ToBasicBlockNormalForm ToCPS ToGraphNormalForm
    UnCPS
    """.split()
)
"""Passes of Relay that Relax has none of the same name for."""

_WITHOUT_USE = frozenset(
    f"tir.{name}"
    for name in (
        "add_lower_pass detect_global_barrier enable_equiv_terms_in_cse_tir experimental_dma_bypass_cache "
        "ptx_ldg32 Simplify ReduceBranchingThroughOvercompute usmp.enable usmp.algorithm usmp.use_workspace_io"
    ).split()
)
"""Options that no pass reads any more."""


def current(name: str, known: Collection[str]) -> str:
    """Return the name that a pass or an option has now; the name itself where it has no other."""
    _, dot, rest = name.partition(".")
    for prefix in ("tirx.", "s_tir."):
        if name.startswith("tir.") and dot and prefix + rest in known:
            return prefix + rest
    return name


def current_passes(names: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """Return the passes as they are called now; those of Relay are left out, with a line that says so."""
    gone = [name for name in names if name in RELAY_PASSES and name not in known]
    if gone:
        logger.warning("%s: a pass of Relay, which TVM 0.27 lacks", ", ".join(gone))
    return tuple(current(name, known) for name in names if name not in gone)


def current_config(pairs: Sequence[tuple[str, Any]], known: Collection[str]) -> list[tuple[str, Any]]:
    """Return the options as they are called now; those that nothing reads are left out, with a line that says so."""
    gone = [
        name
        for name, _ in pairs
        if name not in known and (name.startswith(("relay.", "te.")) or name in _WITHOUT_USE)
    ]
    if gone:
        logger.warning("%s: an option that no pass of TVM 0.27 reads", ", ".join(gone))
    return [(current(name, known), value) for name, value in pairs if name not in gone]
