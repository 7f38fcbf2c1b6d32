// wgmma: products that four warps ask for, and that happen some time before they wait for them.
#pragma once

#include "block.h"

namespace tvmq_emulated {

void BeginWarpgroups();  // of a block

// A thread wrote to shared memory by ordinary instructions, which wgmma sees behind `shared_fence` alone.
void NoteOrdinaryWrite(Thread& thread);
// Of Machine.
void SharedFence();

// Of the lanes of a warp that have arrived: products are kept, and made when they are waited for, so that a wait that is
// missing, or comes too late, shows in the numbers.
void Warpgroup(Kind kind, Thread* const* lanes);

}  // namespace tvmq_emulated
