"""Block annotations: what an operator's definition tells the schedule rules and the reports."""

from __future__ import annotations

KERNEL = "tvmq.kernel"
"""Kernel family of an accumulator block: ``"contraction"``, ``"depthwise"`` or ``"pool"``."""

LAYER = "tvmq.layer"
"""Name of the ONNX node that the block computes."""


def annotation(kind: str, layer: str) -> dict[str, str]:
    """Return the annotations of an accumulator block."""
    return {KERNEL: kind, LAYER: layer}
