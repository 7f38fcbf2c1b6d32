"""How TVM's CUDA source becomes the emulator's."""

from __future__ import annotations

from .source import emulated_source

CODE = """
extern "C" __global__ void __launch_bounds__(256) first(float* __restrict__ x_ptr, int n);
extern "C" __global__ void __launch_bounds__(256) first(float* __restrict__ x_ptr, int n) {
  extern __shared__ __align__(64) uchar dyn[];
  __shared__ alignas(64) float red[32];
  ((float4*)dyn)[1] = *(float4*)(x_ptr + (n * 4));
  ((volatile float*)red)[0] = x_ptr[0];
}
extern "C" __global__ void second(const uchar* __restrict__ dyn) {
  __shared__ float red[4];
}
"""

EXPECTED = """
extern "C" __global__ void __launch_bounds__(256) first(float* __restrict__ x_ptr, int n);
extern "C" __global__ void __launch_bounds__(256) first(float* x_ptr_address, int n) {\
 auto x_ptr = tvmq_emulated::global_array(x_ptr_address);
  auto dyn = tvmq_emulated::dynamic_array<uchar>();
  auto red = tvmq_emulated::static_array<float>(0, 32, 64);
  (tvmq_emulated::view<float4>(dyn))[1] = *tvmq_emulated::view<float4>(x_ptr + (n * 4));
  (tvmq_emulated::view<float>(red))[0] = x_ptr[0];
}
extern "C" __global__ void second(const uchar* dyn_address) {\
 auto dyn = tvmq_emulated::global_array(dyn_address);
  auto red = tvmq_emulated::static_array<float>(1, 4, 1);
}
"""


def test_rewriting():
    source = emulated_source(CODE)
    assert source.startswith(EXPECTED)
    assert 'row<&first>("first", 256),' in source and 'row<&second>("second", 0),' in source
