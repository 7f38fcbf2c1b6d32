// Warp-collective instructions: they happen when the last lane arrives.
#pragma once

#include "block.h"

namespace tvmq_emulated {

// Of Machine.
void Warp(const WarpCall* call);

}  // namespace tvmq_emulated
