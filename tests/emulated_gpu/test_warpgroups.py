"""wgmma: the layout of its sums and operands, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from . import CAPABILITY
from .direct import CudaError, launch

DTYPES = {"u8": np.uint8, "s8": np.int8}


@pytest.fixture(autouse=True)
def hopper(monkeypatch):
    monkeypatch.setenv(CAPABILITY, "9.0")


def source(
    name="u8s8",
    columns=32,
    depth=64,
    steps=2,
    fence="tvmq_shared_fence();",
    start="tvmq_wgmma_fence();",
    wait=0,
):
    """Return a kernel of one group: its lines go to shared memory with their pieces exchanged, as device.cuh says."""
    return f"""
extern "C" __global__ void __launch_bounds__(128)
k(unsigned char* __restrict__ A, unsigned char* __restrict__ B, int* __restrict__ D) {{
  extern __shared__ __align__(1024) unsigned char s[];
  alignas(64) int d[{columns // 2}];
  int t = threadIdx.x;
  for (int i = 0; i < {columns // 2}; ++i) d[i] = 0;
  for (int i = t; i < (64 + {columns}) * {depth // 16}; i += 128) {{
    int line = i / {depth // 16}, piece = i % {depth // 16};
    int place = line * {depth} + (piece ^ (line / {128 // depth} % {depth // 16})) * 16;
    int from = (line < 64 ? line : line - 64) * {depth} + piece * 16;
    tvmq_copy_async_16((&(s[place])), (line < 64 ? (&(A[from])) : (&(B[from]))));
  }}
  tvmq_copy_commit();
  tvmq_copy_wait(0);
  {fence}
  tvmq_barrier();
  {start}
  for (int step = 0; step < {steps}; ++step)
    tvmq_wgmma_{name}_{columns}((&(d[0])), (&(s[step * 32])), (&(s[64 * {depth} + step * 32])), {depth});
  tvmq_wgmma_commit();
  tvmq_wgmma_wait({wait});
  for (int i = 0; i < {columns // 2}; ++i) D[t * {columns // 2} + i] = d[i];
}}
"""


def operands(name, columns, depth):
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 256, (lines, depth)).astype(np.uint8).view(DTYPES[dtype])
        for lines, dtype in ((64, name[:2]), (columns, name[2:]))
    ]


def run(name="u8s8", columns=32, depth=64, **options):
    a, b = operands(name, columns, depth)
    sums = np.full((128, columns // 2), 77, np.int32)
    launch(
        source(name, columns, depth, depth // 32, **options),
        [a.view(np.uint8), b.view(np.uint8), sums],
        block=128,
        shared=(64 + columns) * depth,
    )
    return sums, a.astype(np.int64) @ b.astype(np.int64).T


@pytest.mark.parametrize("name", ["u8s8", "s8u8", "s8s8", "u8u8"])
@pytest.mark.parametrize(("columns", "depth"), [(32, 32), (64, 64), (192, 128), (256, 128)])
def test_sums_lie_as_the_manual_has_them(name, columns, depth):
    """Register 4j + 2h + e of thread t: row 16 (t / 32) + t % 32 / 4 + 8 h, column 8 j + 2 (t % 4) + e."""
    sums, expected = run(name, columns, depth)
    thread, register = np.meshgrid(np.arange(128), np.arange(columns // 2), indexing="ij")
    rows = thread // 32 * 16 + thread % 32 // 4 + register // 2 % 2 * 8
    places = register // 4 * 8 + thread % 4 * 2 + register % 2
    np.testing.assert_array_equal(sums, expected[rows, places])


def test_sums_are_there_when_they_are_waited_for():
    sums, _ = run(wait=1)
    assert not sums.any()


def test_what_is_refused():
    with pytest.raises(CudaError, match="wrote without shared_fence before the barrier"):
        run(fence="")
    with pytest.raises(CudaError, match="wgmma_u8s8 without wgmma_fence since the last wait"):
        run(start="")


def test_other_gpus_have_none(monkeypatch):
    monkeypatch.setenv(CAPABILITY, "8.0")
    with pytest.raises(CudaError, match="wgmma_fence needs compute capability 9.0, and the device has 8.0"):
        run()
