#include "global_access.h"

#include <cstring>

#include "errors.h"
#include "memory.h"
#include "statistics.h"

namespace tvmq_emulated {

void CheckGlobal(const Thread& thread, const char* what, const void* global, unsigned bytes) {
  if (!Inside(global, bytes)) FailOf(thread, Format("%s of %u bytes ", what, bytes) + Outside(global, bytes));
  if (reinterpret_cast<uintptr_t>(global) % bytes != 0) {
    FailOf(thread, Format("%s: address %p is not aligned to %u bytes", what, global, bytes));
  }
}

void GlobalLoad(void* local, const void* global, unsigned bytes, Kind kind) {
  CheckGlobal(*running, KindName(kind), global, bytes);
  memcpy(local, global, bytes);
  if (counting) CountSectors(kind, *running, __builtin_return_address(0), global, bytes);
}

void GlobalStore(void* global, const void* local, unsigned bytes) {
  CheckGlobal(*running, KindName(GLOBAL_STORE), global, bytes);
  memcpy(global, local, bytes);
  if (counting) CountSectors(GLOBAL_STORE, *running, __builtin_return_address(0), global, bytes);
}

int AtomicAdd(int* address, int value) {
  CheckGlobal(*running, KindName(ATOMIC_ADD), address, 4);
  if (counting) CountSectors(ATOMIC_ADD, *running, __builtin_return_address(0), address, 4);
  int before = *address;
  *address = static_cast<int>(static_cast<unsigned>(before) + static_cast<unsigned>(value));
  return before;
}

}  // namespace tvmq_emulated
