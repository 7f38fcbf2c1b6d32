// Warp-collective instructions: they happen when the last lane arrives.
#pragma once

#include "block.h"

namespace tvmq_emulated {

void BeginWarps();  // of a block

// Of Machine.
void Warp(const WarpCall* call);

}  // namespace tvmq_emulated
