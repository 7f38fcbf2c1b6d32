// Shuffles: values from other lanes.
#pragma once

#include "block.h"

namespace tvmq_emulated {

// `lanes` has the 32 lanes of a warp, nullptr where one is not in the mask.
void Shuffle(Kind kind, Thread* const* lanes);

}  // namespace tvmq_emulated
