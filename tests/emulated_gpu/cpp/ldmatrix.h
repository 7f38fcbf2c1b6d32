// ldmatrix, b16, not transposed.
#pragma once

#include "block.h"

namespace tvmq_emulated {

void LoadMatrices(Kind kind, Thread* const* lanes);

}  // namespace tvmq_emulated
