// Global memory as kernels access it: aligned, and within one allocation.
#pragma once

#include "block.h"

namespace tvmq_emulated {

void CheckGlobal(const Thread& thread, const char* what, const void* global, unsigned bytes);

void BeginGlobal();  // of a launch

// Of Machine.
const Range* GlobalRange(const void* global);
void GlobalOutside(const void* global, unsigned bytes);
void GlobalLoad(void* local, const void* global, unsigned bytes, Kind kind);
void GlobalStore(void* global, const void* local, unsigned bytes);
int AtomicAdd(int* address, int value);

}  // namespace tvmq_emulated
