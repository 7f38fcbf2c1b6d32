"""onnxruntime's product with weights of few bits in blocks, ``MatMulNBits``, with its weights restored.

    w[k, n] = (q[n, k] - zero_point[n, k // block_size]) * scale[n, k // block_size]

The integers of a block lie packed in bytes, the first in the lowest bits.
"""

from __future__ import annotations

import numpy as np

from ....passes.hub.packing import ceil_div
from .body import Body

BITS = (2, 4, 8)


def matmul_nbits(
    body: Body, a: str, b: str, scales: str, zero_points: str = "", group_indices: str = "", bias: str = "", *,
    K: int, N: int, block_size: int, bits: int = 4, accuracy_level: int = 0,  # noqa: N803 (onnxruntime's names)
    weight_prepacked: int = 0,
) -> str:  # fmt: skip
    """``accuracy_level`` says what onnxruntime may compute in; here it is float32."""
    if bits not in BITS or block_size < 1 or weight_prepacked:
        raise ValueError(
            f"bits {bits}, block_size {block_size} and weight_prepacked {weight_prepacked} are not supported"
        )
    blocks = ceil_div(K, block_size)
    shape = (N, blocks, ceil_div(block_size * bits, 8))
    body.expect(b, "B", ("uint8",), shape)
    packed, scale, zeros, groups = (
        _constant(body, name, what)
        for name, what in (
            (b, "B"),
            (scales, "scales"),
            (zero_points, "zero_points"),
            (group_indices, "g_idx"),
        )
    )
    assert packed is not None and scale is not None, "they are no options"
    integers = unpacked(packed, bits)[..., :block_size].reshape(N, -1)[:, :K].astype(np.float32)
    places = np.arange(K) // block_size if groups is None else groups
    if places.shape != (K,) or places.min(initial=0) < 0 or places.max(initial=0) >= blocks:
        raise ValueError(f"its g_idx are no {K} places among {blocks} blocks")
    weight = integers - _zero_points(zeros, N, blocks, bits)[:, places]
    weight = weight * _by_blocks(scale, N, blocks, "scales").astype(np.float32)[:, places]
    return body.sum(body("MatMul", a, body.like(weight.T, a)), bias)


def _constant(body: Body, name: str, what: str) -> np.ndarray | None:
    if not name:
        return None
    if body.inputs[name].value is None:
        raise ValueError(f"its {what} must be constant")
    return body.inputs[name].value


def unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Return the integers that lie in bytes ``[..., bytes]``, as uint8 ``[..., bytes * 8 / bits]``."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (packed[..., None] >> shifts) & np.uint8(2**bits - 1)
    return parts.reshape(*packed.shape[:-1], -1)


def _zero_points(given: np.ndarray | None, columns: int, blocks: int, bits: int) -> np.ndarray:
    """Return them as float32 ``[N, blocks]``: packed for each column, or numbers of the data's dtype."""
    if given is None:
        return np.full((columns, blocks), 2 ** (bits - 1), np.float32)
    if given.dtype == np.uint8:
        row = ceil_div(blocks * bits, 8)
        if given.size != columns * row:
            raise ValueError(f"its zero_points have {given.size} bytes; expected {columns * row}")
        given = unpacked(given.reshape(columns, row), bits)[:, :blocks]
    return _by_blocks(given, columns, blocks, "zero_points").astype(np.float32)


def _by_blocks(values: np.ndarray, columns: int, blocks: int, what: str) -> np.ndarray:
    if values.size != columns * blocks:
        raise ValueError(f"its {what} are {values.size}; expected {columns} x {blocks}")
    return values.reshape(columns, blocks)
