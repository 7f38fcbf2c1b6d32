"""Weights quantized in blocks along an axis, as float ones:

    w[k, n] = (q[k, n] - zero_point[k // B, n]) * scale[k // B, n]

A block has a scale of its own, and the integer kernels have one for a whole channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx


def dequantized_blocks(node: onnx.NodeProto, inputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """Return the value of a ``DequantizeLinear`` with ``block_size``; empty where it has none, or is not constant.

    Parameters
    ----------
    inputs : the integers, ``scale`` and ``zero_point``; None for what is not constant or not given.

    Raises
    ------
    ValueError : a scale whose shape does not fit.
    """
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    block = attributes.get("block_size", 0)
    if block == 0:
        return []
    given = dict(zip(node.input, inputs, strict=True))
    if any(name and value is None for name, value in given.items()):
        return []
    q, scale, zero_point = [*inputs, None, None][:3]
    if q is None or scale is None or block < 0:
        raise ValueError(f"block_size {block} needs a scale for each block")
    axis = attributes.get("axis", 1)
    if not -q.ndim <= axis < q.ndim:
        raise ValueError(f"axis {axis} is none of values of rank {q.ndim}")
    expected = list(q.shape)
    expected[axis] = -(-q.shape[axis] // block)
    for name, array in (("scale", scale), ("zero point", zero_point)):
        if array is not None and list(array.shape) != expected:
            raise ValueError(
                f"the {name} has the shape {list(array.shape)}; blocks of {block} along axis {axis} need {expected}"
            )

    def spread(array: np.ndarray) -> np.ndarray:
        return np.repeat(array, block, axis=axis).take(range(q.shape[axis]), axis=axis)

    integers = q.astype(np.int32)
    if zero_point is not None:
        integers = integers - spread(zero_point.astype(np.int32))
    return [(integers.astype(np.float32) * spread(scale.astype(np.float32))).astype(scale.dtype)]
