// mma.sync of integers.
#pragma once

#include "block.h"

namespace tvmq_emulated {

// d += a * b of fragments that lie in the lanes (the tables stand in device.cuh).
void Multiply(Kind kind, Thread* const* lanes);

}  // namespace tvmq_emulated
