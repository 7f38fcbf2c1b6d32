"""Scales of a file's own quantization: positive numbers, or the model means nothing.

q = round(x / scale) + zero_point        scale 0, NaN, infinity or below 0 --> refused
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from tvm import relax

from ...passes.hub.graph import is_constant, to_numpy

SCALES: dict[str, tuple[int, ...]] = {
    "DequantizeLinear": (1,),
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
    "QuantizeLinear": (1,),
}
"""The places of the scales among each operator's inputs."""


def refuse_bad_scales(node: onnx.NodeProto, values: Mapping[str, relax.Expr]) -> None:
    """Raise ``ValueError`` for a constant scale that is no positive number."""
    for place in SCALES.get(node.op_type, ()):
        name = node.input[place] if place < len(node.input) else ""
        value = values.get(name)
        if value is None or not is_constant(value):
            continue
        scale = to_numpy(value).astype(np.float64)
        bad = scale[~(np.isfinite(scale) & (scale > 0))]
        if bad.size:
            raise ValueError(
                f"its scale {name!r} has the value {bad[0]:g}, and a positive number was expected"
            )
