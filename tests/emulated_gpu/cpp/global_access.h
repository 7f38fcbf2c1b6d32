// Global memory as kernels access it by the functions of device.cuh: aligned, and within one allocation.
#pragma once

#include "block.h"

namespace tvmq_emulated {

void CheckGlobal(const Thread& thread, const char* what, const void* global, unsigned bytes);

// Of Machine.
void GlobalLoad(void* local, const void* global, unsigned bytes, Kind kind);
void GlobalStore(void* global, const void* local, unsigned bytes);
int AtomicAdd(int* address, int value);

}  // namespace tvmq_emulated
