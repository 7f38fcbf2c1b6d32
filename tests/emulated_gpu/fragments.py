"""Which element lies where in the lanes of a warp: the PTX manual's "Matrix Fragments for mma.m16n8k32" and the like.

i: number of the element in a lane's fragment; row and column as the manual writes them
"""

from __future__ import annotations

import numpy as np

BITS_OF_DEPTH = {32: 8, 64: 4, 256: 1}


def place_a(depth: int, lane: int, i: int) -> tuple[int, int]:
    """Row and column of A's element `a_i` (16 x depth)."""
    group, member = lane >> 2, lane % 4
    if depth == 32:  # .s8, .u8: 16 elements a lane
        row = group if 0 <= i < 4 or 8 <= i < 12 else group + 8
        return row, member * 4 + (i & 3) if i < 8 else member * 4 + (i & 3) + 16
    if depth == 64:  # .s4, .u4: 32 elements
        row = group if 0 <= i < 8 or 16 <= i < 24 else group + 8
        return row, member * 8 + (i & 7) if i < 16 else member * 8 + (i & 7) + 32
    row = group if 0 <= i < 32 or 64 <= i < 96 else group + 8  # .b1: 128 elements
    return row, member * 32 + i % 32 if i < 64 else member * 32 + i % 32 + 128


def place_b(depth: int, lane: int, i: int) -> tuple[int, int]:
    """Row and column of B's element `b_i` (depth x 8)."""
    group, member = lane >> 2, lane % 4
    if depth == 32:
        return (member * 4 + (i & 3) if i < 4 else member * 4 + (i & 3) + 16), group
    if depth == 64:
        return (member * 8 + (i & 7) if i < 8 else member * 8 + (i & 7) + 32), group
    return (member * 32 + i if i < 32 else member * 32 + (i - 32) + 128), group


def place_d(lane: int, i: int) -> tuple[int, int]:
    """Row and column of D's element `c_i` (16 x 8)."""
    return (lane >> 2 if i < 2 else (lane >> 2) + 8), (lane % 4) * 2 + (i & 1)


def registers(matrix: np.ndarray, depth: int, which: str) -> np.ndarray:
    """A or B, any integers, as the 32-bit registers of each lane: [32, 4] or [32, 2]."""
    bits = BITS_OF_DEPTH[depth]
    place, count = (place_a, 4) if which == "a" else (place_b, 2)
    lanes = np.zeros((32, count), dtype=np.uint64)
    for lane in range(32):
        for i in range(count * 32 // bits):
            value = int(matrix[place(depth, lane, i)]) & ((1 << bits) - 1)
            lanes[lane, i * bits // 32] |= np.uint64(value << (i * bits % 32))
    return lanes.astype(np.uint32)


def from_registers(lanes: np.ndarray) -> np.ndarray:
    """D of the registers of each lane, [32, 4]."""
    matrix = np.zeros((16, 8), dtype=lanes.dtype)
    for lane in range(32):
        for i in range(4):
            matrix[place_d(lane, i)] = lanes[lane, i]
    return matrix
