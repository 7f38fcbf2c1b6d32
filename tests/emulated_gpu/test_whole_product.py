"""An int8 product as CUDA kernels have it: copies in two stages, rows in turned places, ldmatrix, tensor cores."""

from __future__ import annotations

import numpy as np
import pytest

from . import counted
from .direct import CudaError, kernel, launch

M, N, K = 128, 64, 192

# C[64 x 64 a block] = A[M, K] * B[N, K]^T by four warps of 32 x 32, 64 numbers deep. A row of 64 bytes is 4 chunks of
# 16, and chunk c of row r lies at (c ^ r / 2 % 4): eight rows of ldmatrix then lie in all banks.
BODY = """
  extern __shared__ __align__(64) unsigned char s[];
  int t = threadIdx.x, warp = t / 32, lane = t % 32;
  alignas(64) int d[32];
  alignas(64) unsigned a[8], b[8];
  for (int i = 0; i < 32; ++i) d[i] = 0;
  for (int k = -1; k < DEEP; ++k) {
    if (k + 1 < DEEP) {
      for (int j = 0; j < 2; ++j) {
        int row = t / 4 + 32 * j, chunk = t % 4, place = (k + 1) % 2 * 8192 + row * 64 + TURNED(chunk, row) * 16;
        int from = (k + 1) * 64 + chunk * 16;
        tvmq_copy_async_16((&(s[place])), (&(A[(blockIdx.y * 64 + row) * DEPTH + from])));
        tvmq_copy_async_16((&(s[place + 4096])), (&(B[(blockIdx.x * 64 + row) * DEPTH + from])));
      }
    }
    tvmq_copy_commit();
    if (k < 0) continue;
    tvmq_copy_wait(1);
    tvmq_barrier();
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 2; ++i) {
        int row = warp / 2 * 32 + i * 16 + lane % 16, chunk = half * 2 + lane / 16;
        tvmq_ldmatrix_x4((&(a[4 * i])), (&(s[k % 2 * 8192 + row * 64 + TURNED(chunk, row) * 16])));
      }
      for (int j = 0; j < 2; ++j) {
        int row = warp % 2 * 32 + j * 16 + lane / 16 * 8 + lane % 8, chunk = half * 2 + lane / 8 % 2;
        tvmq_ldmatrix_x4((&(b[4 * j])), (&(s[k % 2 * 8192 + 4096 + row * 64 + TURNED(chunk, row) * 16])));
      }
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 4; ++j) tvmq_mma_s8s8((&(d[(i * 4 + j) * 4])), (&(a[4 * i])), (&(b[2 * j])));
    }
    LAST_BARRIER
  }
  for (int i = 0; i < 32; ++i) {
    int row = blockIdx.y * 64 + warp / 2 * 32 + i / 16 * 16 + i / 2 % 2 * 8 + lane / 4;
    C[row * COLUMNS + blockIdx.x * 64 + warp % 2 * 32 + i / 4 % 4 * 8 + lane % 4 * 2 + i % 2] = d[i];
  }
"""


def run(
    barrier: str = "tvmq_barrier();", turned: str = "(c ^ ((r) / 2 % 4))"
) -> tuple[np.ndarray, np.ndarray]:
    """The product, and the expected one."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-128, 128, (rows, K)).astype(np.int8) for rows in (M, N))
    c = np.zeros((M, N), np.int32)
    sizes = f"#define DEPTH {K}\n#define DEEP {K // 64}\n#define COLUMNS {N}\n"
    defines = f"{sizes}#define TURNED(c, r) {turned}\n#define LAST_BARRIER {barrier}\n"
    code = kernel("signed char* A, signed char* B, int* C", BODY, 128)
    launch(defines + code, [a, b, c], grid=(N // 64, M // 64), block=128, shared=16384)
    return c, a.astype(np.int32) @ b.T.astype(np.int32)


def test_product_without_conflicts():
    with counted() as launches:
        np.testing.assert_array_equal(*run())
    (counts,) = launches
    products = M * N * K // (16 * 8 * 32)
    assert counts["instructions"]["mma_s8s8"] == products
    assert counts["instructions"]["ldmatrix_x4"] == products // 2
    assert counts["wavefronts"]["ldmatrix_x4"] == 4 * products // 2
    assert counts["conflicts"] == {}
    assert counts["sectors"] == {"copy_async": (M * K * (N // 64) + N * K * (M // 64)) // 32}


def test_rows_that_are_not_turned_share_banks():
    with counted() as launches:
        np.testing.assert_array_equal(*run(turned="c"))
    assert launches[0]["conflicts"]["ldmatrix_x4"] > 0


def test_stage_that_is_filled_while_it_is_read():
    with pytest.raises(
        CudaError, match="writes byte .*, which .*warp.* read without a barrier between|on its way"
    ):
        run(barrier="")
