"""A product at compute capability 7.5, which device.cuh makes of four small ones of parts of its fragments."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from .fragments import from_registers, registers

HEADER = Path(__file__).parents[2] / "targets" / "cuda" / "device.cuh"
CALL = r"TVMQ_MMA_SMALL\(SHAPE, TYPES, LAST, d( \+ 2)?, x\[(\d)\], y\[(\d)\]\)"


def small(a: np.ndarray, b: np.ndarray, bits: int) -> np.ndarray:
    """D's two registers of each lane of mma.m8n8k16 (8 bits), k32 (4) or k128 (1), as the PTX manual places elements.

    a, b: one unsigned register of n elements a lane. With group = lane / 4 and first = lane % 4 * n, element i is of A
    in row group, column first + i, of B in row first + i, column group; D has row group, column lane % 4 * 2 + i.
    """
    n = 32 // bits
    mask = (1 << bits) - 1
    rows, columns = np.zeros((8, 4 * n), np.int64), np.zeros((4 * n, 8), np.int64)
    for lane in range(32):
        for i in range(n):
            rows[lane // 4, lane % 4 * n + i] = int(a[lane]) >> (i * bits) & mask
            columns[lane % 4 * n + i, lane // 4] = int(b[lane]) >> (i * bits) & mask
    product = (rows[:, :, None] ^ columns[None]).sum(1) if bits == 1 else rows @ columns
    return np.array([[product[lane // 4, lane % 4 * 2 + i] for i in range(2)] for lane in range(32)])


def in_four(x: np.ndarray, y: np.ndarray, bits: int) -> np.ndarray:
    """The calls of the header, one after the other."""
    calls = re.findall(CALL, HEADER.read_text())
    assert len(calls) == 4
    d = np.zeros((32, 4), np.int64)
    for second, a, b in calls:
        first = 2 if second else 0
        d[:, first : first + 2] += small(x[:, int(a)], y[:, int(b)], bits)
    return from_registers(d)


@pytest.mark.parametrize(("bits", "depth"), [(8, 32), (4, 64), (1, 256)])
def test_four_small_products_are_the_large_one(bits: int, depth: int):
    rng = np.random.default_rng(bits)
    a, b = rng.integers(0, 1 << bits, (16, depth)), rng.integers(0, 1 << bits, (depth, 8))
    expected = (a[:, :, None] ^ b[None]).sum(1) if bits == 1 else a @ b
    np.testing.assert_array_equal(in_four(registers(a, depth, "a"), registers(b, depth, "b"), bits), expected)


def test_common_bits_by_differing_ones():
    """tvmq_mma_b1_and at 7.5: half of popcount(a) + popcount(b) - popcount(a ^ b)."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (16, 256)), rng.integers(0, 2, (256, 8))
    x, y = registers(a, 256, "a"), registers(b, 256, "b")
    sums = in_four(x, np.zeros_like(y), 1) + in_four(np.zeros_like(x), y, 1)
    np.testing.assert_array_equal((sums - in_four(x, y, 1)) >> 1, a @ b)
