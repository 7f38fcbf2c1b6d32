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

  // The next Resume() calls `entry`, which must not return: it ends with Yield(). What ran before is forgotten.
  void Start(void (*entry)());
  // Runs the fiber until it yields.
  void Resume();
  // Goes back to Resume(); called on the fiber.
  void Yield();
  // Whether an address lies on the page behind the end of the stack.
  bool Overflows(const void* address) const;

 private:
  static constexpr size_t kStack = 256 << 10, kGuard = 4096;
  char* stack_;
  void* own_ = nullptr;     // where the fiber stopped
  void* caller_ = nullptr;  // where Resume() waits
};

}  // namespace tvmq_emulated
