#include "memory.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "errors.h"

namespace tvmq_emulated {

namespace {

constexpr size_t kCanary = 256;
constexpr unsigned char kJunk = 0xCD, kCanaryByte = 0xA7;

std::mutex mutex;
std::map<uintptr_t, size_t> allocations;  // bytes by first address
// The allocation that a host thread asked for last, most often the next one too; good while none was freed since.
std::atomic<unsigned> frees{0};
thread_local uintptr_t last_base = 0;
thread_local size_t last_bytes = 0;
thread_local unsigned last_frees = 0;

uintptr_t Number(const void* address) { return reinterpret_cast<uintptr_t>(address); }

long BrokenAt(const unsigned char* canary) {
  for (size_t i = 0; i < kCanary; ++i) {
    if (canary[i] != kCanaryByte) return static_cast<long>(i);
  }
  return -1;
}

}  // namespace

void* Allocate(size_t bytes) {
  size_t whole = (bytes + 2 * kCanary + 255) / 256 * 256;
  auto* memory = static_cast<unsigned char*>(aligned_alloc(256, whole));
  if (memory == nullptr) return nullptr;
  memset(memory, kCanaryByte, kCanary);
  memset(memory + kCanary, kJunk, bytes);
  memset(memory + kCanary + bytes, kCanaryByte, kCanary);
  std::lock_guard<std::mutex> lock(mutex);
  allocations[Number(memory + kCanary)] = bytes;
  return memory + kCanary;
}

bool Free(void* address) {
  std::lock_guard<std::mutex> lock(mutex);
  auto found = allocations.find(Number(address));
  if (found == allocations.end()) return false;
  memset(address, kJunk, found->second);
  allocations.erase(found);
  ++frees;
  free(static_cast<char*>(address) - kCanary);
  return true;
}

bool Inside(const void* address, size_t bytes) {
  uintptr_t first = Number(address);
  unsigned now = frees.load(std::memory_order_relaxed);
  if (first >= last_base && first + bytes <= last_base + last_bytes && now == last_frees) return true;
  std::lock_guard<std::mutex> lock(mutex);
  auto next = allocations.upper_bound(first);
  if (next == allocations.begin()) return false;
  --next;
  if (first + bytes > next->first + next->second) return false;
  last_base = next->first;
  last_bytes = next->second;
  last_frees = now;
  return true;
}

std::string Outside(const void* address, size_t bytes) {
  if (Inside(address, bytes)) return "";
  uintptr_t first = Number(address);
  std::lock_guard<std::mutex> lock(mutex);
  auto next = allocations.upper_bound(first);
  if (next != allocations.begin()) {
    auto before = std::prev(next);
    size_t offset = first - before->first;
    if (offset < before->second + kCanary) {
      return Format("ends %zu bytes behind an allocation of %zu bytes", offset + bytes - before->second, before->second);
    }
  }
  if (next != allocations.end() && next->first - first <= kCanary) {
    return Format("begins %zu bytes before an allocation of %zu bytes", next->first - first, next->second);
  }
  return Format("is in no allocation (%p)", address);
}

std::string BrokenCanary() {
  std::lock_guard<std::mutex> lock(mutex);
  for (auto& [base, bytes] : allocations) {
    auto* front = reinterpret_cast<unsigned char*>(base) - kCanary;
    auto* back = reinterpret_cast<unsigned char*>(base) + bytes;
    long at_front = BrokenAt(front), at_back = BrokenAt(back);
    if (at_front < 0 && at_back < 0) continue;
    memset(front, kCanaryByte, kCanary);
    memset(back, kCanaryByte, kCanary);
    if (at_back >= 0) return Format("byte %zu of an allocation of %zu bytes was written", bytes + at_back, bytes);
    return Format("a byte %ld before an allocation of %zu bytes was written", static_cast<long>(kCanary) - at_front, bytes);
  }
  return "";
}

}  // namespace tvmq_emulated
