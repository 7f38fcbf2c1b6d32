// What kernels take from CUDA's header of the same name.
#pragma once
#include "short_floats.h"

namespace tvmq_emulated {
using Half = ShortFloat<10, -14, 0x7fff>;
}
TVMQ_SHORT_FLOAT(__half, Half)
using half = __half;
using half2 = __half2;

TVMQ_DEVICE half __float2half(float value) { return value; }
TVMQ_DEVICE half __float2half_rn(float value) { return value; }
TVMQ_DEVICE half __double2half(double value) { return value; }
TVMQ_DEVICE float __half2float(half value) { return value; }
TVMQ_DEVICE half2 make_half2(half x, half y) { return {x, y}; }
TVMQ_DEVICE half2 __halves2half2(half x, half y) { return {x, y}; }
TVMQ_DEVICE half __ushort_as_half(unsigned short bits) {
  half value;
  value.__x = bits;
  return value;
}
TVMQ_DEVICE unsigned short __half_as_ushort(half value) { return value.__x; }

// What TVM's sources define for themselves where __CUDA_ARCH__ is.
TVMQ_DEVICE half hpow(half x, half y) { return powf(x, y); }
TVMQ_SHORT_FLOAT_FUNCTION(half, htan, tan)
TVMQ_SHORT_FLOAT_FUNCTION(half, hatan, atan)
TVMQ_SHORT_FLOAT_FUNCTION(half, herf, erf)
