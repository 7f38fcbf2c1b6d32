"""Products of fragments against NumPy, with the PTX manual's tables written out in `fragments.py`."""

from __future__ import annotations

import numpy as np
import pytest

from .direct import kernel, launch
from .fragments import from_registers, registers

RANGES = {"u8": (0, 256), "s8": (-128, 128), "u4": (0, 16), "s4": (-8, 8), "b1": (0, 2)}
KINDS = ["u8s8", "s8u8", "s8s8", "u8u8", "u4s4", "s4u4", "s4s4", "u4u4", "b1_xor", "b1_and"]


def code(kind: str) -> str:
    body = f"""
  alignas(64) int d[4];
  alignas(64) uint a[4], b[2];
  for (int i = 0; i < 4; ++i) {{ a[i] = A[((int)threadIdx.x) * 4 + i]; d[i] = D[((int)threadIdx.x) * 4 + i]; }}
  for (int i = 0; i < 2; ++i) b[i] = B[((int)threadIdx.x) * 2 + i];
  tvmq_mma_{kind}((&(d[0])), (&(a[0])), (&(b[0])));
  for (int i = 0; i < 4; ++i) D[((int)threadIdx.x) * 4 + i] = d[i];"""
    return "#define uint unsigned int\n" + kernel(
        "uint* __restrict__ A, uint* __restrict__ B, int* __restrict__ D", body
    )


def product(kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if kind == "b1_xor":
        return (a[:, :, None] ^ b[None]).sum(1)
    return a @ b  # of bits: how many are set in both


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extreme", [False, True])
def test_product(kind: str, extreme: bool):
    rng = np.random.default_rng(KINDS.index(kind))
    types = ("b1", "b1") if kind.startswith("b1") else (kind[:2], kind[2:])
    depth = {"8": 32, "4": 64, "1": 256}[types[0][1]]

    def draw(kind: str, shape: tuple[int, int]) -> np.ndarray:
        low, high = RANGES[kind]
        return rng.choice([low, high - 1], shape) if extreme else rng.integers(low, high, shape)

    a, b = draw(types[0], (16, depth)), draw(types[1], (depth, 8))
    start = rng.integers(-(2**31), 2**31, (32, 4)).astype(np.int32)  # sums wrap
    lanes = start.copy()
    launch(code(kind), [registers(a, depth, "a"), registers(b, depth, "b"), lanes])
    with np.errstate(over="ignore"):
        expected = from_registers(start) + product(kind, a, b).astype(np.int32)
    np.testing.assert_array_equal(from_registers(lanes), expected)


@pytest.mark.parametrize("matrices", [1, 2, 4])
def test_ldmatrix(matrices: int):
    """Register m of lane l: elements 2 * (l % 4) and the next of row l / 4 of matrix m. Lane 8 * m + r gives row r."""
    rng = np.random.default_rng(matrices)
    memory = rng.integers(0, 2**16, (64, 8)).astype(np.uint16)  # 64 rows of 16 bytes
    rows = rng.permutation(64)[:32].astype(np.int32)
    out = np.zeros((32, matrices, 2), np.uint16)
    body = f"""
  extern __shared__ __align__(64) uchar s[];
  alignas(64) int r[{matrices}];
  *(uint4*)(s + (((int)threadIdx.x) * 32)) = *(uint4*)(M + (((int)threadIdx.x) * 32));
  *(uint4*)(s + (((int)threadIdx.x) * 32 + 16)) = *(uint4*)(M + (((int)threadIdx.x) * 32 + 16));
  __syncthreads();
  tvmq_ldmatrix_x{matrices}((&(r[0])), (&(s[R[((int)threadIdx.x)] * 16])));
  for (int i = 0; i < {matrices}; ++i) O[((int)threadIdx.x) * {matrices} + i] = r[i];"""
    source = "#define uchar unsigned char\n" + kernel(
        "uchar* __restrict__ M, int* __restrict__ R, int* __restrict__ O", body
    )
    launch(source, [memory, rows, out], shared=1024)
    for lane in range(32):
        for m in range(matrices):
            row = memory[rows[8 * m + lane // 4]]
            np.testing.assert_array_equal(out[lane, m], row[2 * (lane % 4) : 2 * (lane % 4) + 2])
