// Shared memory of the block that runs, with a record for each byte of who wrote and who read it last.
//
// Two threads may touch a byte, one of them writing, only with a barrier between; for threads of one warp a warp-collective
// instruction counts as one. All functions end the launch where this does not hold.
#pragma once

#include "block.h"

namespace tvmq_emulated {

void BeginShared(unsigned dynamic_bytes);
// After a launch that failed: nothing is on its way any more.
void ForgetShared();

// Whether the bytes are shared memory of this block, at a multiple of `alignment`.
void CheckShared(const Thread& thread, const char* what, const void* shared, unsigned bytes, unsigned alignment);
void NoteRead(const Thread& thread, const void* shared, unsigned bytes);
void NoteWrite(const Thread& thread, const void* shared, unsigned bytes);
// A read by all lanes of the thread's warp, which is a part of a warp-collective instruction.
void NoteWarpRead(const Thread& thread, const void* shared, unsigned bytes);
// An asynchronous copy of the thread is on its way to these bytes; and it has arrived.
void NoteDeparture(const Thread& thread, const void* shared, unsigned bytes);
void NoteArrival(const Thread& thread, const void* shared, unsigned bytes);

// Offset in the block's shared memory, for counting banks.
unsigned SharedOffset(const void* shared);

// Of Machine.
void SharedLoad(void* local, const void* shared, unsigned bytes);
void SharedStore(void* shared, const void* local, unsigned bytes);
void* DynamicShared();
void* StaticShared(int declaration, unsigned bytes, unsigned alignment);

}  // namespace tvmq_emulated
