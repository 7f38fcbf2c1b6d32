#include "copies.h"

#include <cstring>

#include "device.h"
#include "errors.h"
#include "global_access.h"
#include "shared_memory.h"
#include "statistics.h"
#include "warpgroup.h"

namespace tvmq_emulated {

namespace {

void Arrive(Thread& thread, const std::vector<Copy>& copies) {
  for (const Copy& copy : copies) {
    NoteArrival(thread, copy.shared, copy.bytes);
    NoteOrdinaryWrite(thread);
    memcpy(copy.shared, copy.global, copy.bytes);
  }
}

}  // namespace

void ArriveAll(Thread& thread) {
  for (const auto& group : thread.groups) Arrive(thread, group);
  Arrive(thread, thread.open);
  thread.groups.clear();
  thread.open.clear();
}

void CopyAsync(void* shared, const void* global, unsigned bytes) {
  Thread& thread = *running;
  CheckGlobal(thread, "copy_async", global, bytes);
  CheckShared(thread, "copy_async", shared, bytes, bytes);
  if (counting) {
    CountAccess(COPY_ASYNC, thread, __builtin_return_address(0), shared, bytes);
    CountSectors(COPY_ASYNC, thread, __builtin_return_address(0), global, bytes);
  }
  if (Capability() < 80) {  // a load and a store
    NoteWrite(thread, shared, bytes);
    memcpy(shared, global, bytes);
    return;
  }
  NoteDeparture(thread, shared, bytes);
  thread.open.push_back({static_cast<char*>(shared), static_cast<const char*>(global), bytes});
}

void CopyCommit() {
  if (counting) CountAccess(COPY_COMMIT, *running, __builtin_return_address(0), nullptr, 0);
  running->groups.push_back(std::move(running->open));
  running->open.clear();
}

void CopyWait(int groups) {
  if (groups < 0 || groups > 7) Fail(Format("copy_wait: %d is not one of 0 to 7", groups));
  if (counting) CountAccess(COPY_WAIT, *running, __builtin_return_address(0), nullptr, 0);
  while (running->groups.size() > static_cast<size_t>(groups)) {
    Arrive(*running, running->groups.front());
    running->groups.pop_front();
  }
}

}  // namespace tvmq_emulated
