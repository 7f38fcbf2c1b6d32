"""Weights quantized in blocks along an axis, as float ones:

    w[k, n] = (q[k, n] - zero_point[k // B, n]) * scale[k // B, n]

A block has a scale of its own, and the integer kernels have one for a whole channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from ...passes.hub.packing import ceil_div


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

    def spread(array: np.ndarray, what: str) -> np.ndarray:
        return np.take(array, places_of_blocks(q.shape, axis, block, array.shape, what), axis)

    scales = spread(scale.astype(np.float32), "scale")
    integers = q.astype(np.int32)
    if zero_point is not None:
        integers = integers - spread(zero_point.astype(np.int32), "zero point")
    return [(integers.astype(np.float32) * scales).astype(scale.dtype)]


def places_of_blocks(
    shape: Sequence[int], axis: int, block: int, given: Sequence[int], what: str
) -> np.ndarray:
    """Return for each place on an axis which block it is in.

    Raises
    ------
    ValueError : the parameters, called ``what``, have another shape than that of ``given``.
    """
    expected = list(shape)
    expected[axis] = ceil_div(shape[axis], block)
    if list(given) != expected:
        raise ValueError(
            f"the {what} has the shape {list(given)}; blocks of {block} along axis {axis} need {expected}"
        )
    return np.arange(shape[axis]) // block
