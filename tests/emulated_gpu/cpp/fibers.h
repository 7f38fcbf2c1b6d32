// Threads of a block as fibers: each has a stack, and runs until it switches back to who started it.
#pragma once

#include <cstddef>

namespace tvmq_emulated {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next Resume() calls `entry`, which must not return: it ends with Yield(). What ran before is
  // forgotten.
  void Start(void (*entry)());
  // Runs the fiber until it yields.
  void Resume();
  // Goes back to Resume(), or on with another fiber, which then goes back there; called on the fiber.
  void Yield();
  void GoOnWith(Fiber& other);
  // Whether an address lies on the page behind the end of the stack.
  bool Overflows(const void* address) const;

 private:
  static constexpr size_t kStack = 256 << 10, kGuard = 4096;
  char* stack_;
  char* top_;  // of each stack in other lines of the cache: stacks begin at the same place of a page
  void* own_ = nullptr;   // where the fiber stopped
  static void* resumer_;  // where Resume() waits: one launch runs at a time
};

}  // namespace tvmq_emulated
