"""How windows are padded: what ONNX's ``auto_pad`` asks for, written out."""

from __future__ import annotations

from typing import Any

from tvm import relax

from ....passes.hub.graph import shape_of


def explicit_pads(data: relax.Expr, kernel: tuple[int, ...], attr: dict[str, Any]) -> list[int]:
    """Return the pads (begin of each spatial axis, then end of each) that ``auto_pad`` asks for.

    ``SAME_*`` keeps ceil(extent / stride) positions: the pads sum to
    ``max((positions - 1) * stride + (kernel - 1) * dilation + 1 - extent, 0)`` and an odd one goes to the
    end for ``SAME_UPPER``, to the begin for ``SAME_LOWER``.
    """
    rank = len(kernel)
    mode = attr.get("auto_pad", b"NOTSET").decode("utf-8")
    if mode == "VALID":
        return [0] * (2 * rank)
    if mode == "NOTSET":
        return list(attr.get("pads", [0] * (2 * rank)))
    begins, ends = [], []
    extents = shape_of(data)[2:]
    strides, dilations = attr.get("strides", [1] * rank), attr.get("dilations", [1] * rank)
    for extent, taps, stride, dilation in zip(extents, kernel, strides, dilations, strict=True):
        positions = -(-extent // stride)
        total = max((positions - 1) * stride + (taps - 1) * dilation + 1 - extent, 0)
        half = total // 2 if mode == "SAME_UPPER" else total - total // 2
        begins.append(half)
        ends.append(total - half)
    return begins + ends
