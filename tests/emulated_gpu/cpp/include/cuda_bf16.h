// What kernels take from CUDA's header of the same name.
#pragma once
#include "short_floats.h"

namespace tvmq_emulated {
using Bfloat = ShortFloat<7, -126, 0x7fff>;
}
TVMQ_SHORT_FLOAT(__nv_bfloat16, Bfloat)
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

TVMQ_DEVICE nv_bfloat16 __float2bfloat16(float value) { return value; }
TVMQ_DEVICE nv_bfloat16 __float2bfloat16_rn(float value) { return value; }
TVMQ_DEVICE nv_bfloat16 __double2bfloat16(double value) { return value; }
TVMQ_DEVICE float __bfloat162float(nv_bfloat16 value) { return value; }
