// Global memory: host memory with canaries on both sides, filled with junk.
#pragma once

#include <cstddef>
#include <string>

namespace tvmq_emulated {

void* Allocate(size_t bytes);
// Whether there was such an allocation.
bool Free(void* address);
// Why [address, address + bytes) is not a part of one allocation; empty where it is.
std::string Outside(const void* address, size_t bytes);
bool Inside(const void* address, size_t bytes);
// Which canary was written over; empty where none was. A canary that is named is restored.
std::string BrokenCanary();

}  // namespace tvmq_emulated
