// A block of threads that runs: its fibers, what each waits for, and where its shared memory is.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "fibers.h"
#include "interface.h"

namespace tvmq_emulated {

constexpr int kWarp = 32;

enum class State { READY, AT_BARRIER, AT_WARP, AT_ACTIVE_MASK, LEFT };

struct Copy {
  char* shared;
  const char* global;
  unsigned bytes;
};

struct Thread {
  View view;
  unsigned number;  // in its block, x first
  State state;
  WarpCall call;        // while AT_WARP
  unsigned mask;        // result of ACTIVE_MASK
  const void* site;     // where in the kernel it waits
  std::vector<Copy> open;                // copies since the last commit
  std::deque<std::vector<Copy>> groups;  // committed, oldest first
  Fiber fiber;

  unsigned warp() const { return number / kWarp; }
  unsigned lane() const { return number % kWarp; }
};

// One launch. The kernel runs block by block, in the host thread that asks for it.
struct Launch {
  const Kernel* kernel;
  void** arguments;
  Index grid, block;
  unsigned dynamic_bytes;  // of shared memory
};

// Runs all blocks; gives what is wrong, or "".
std::string Run(const Launch& launch);

// Of the block that runs.
extern Machine machine;
extern const Launch* launch;
extern std::vector<std::unique_ptr<Thread>> threads;
extern unsigned thread_count;
extern std::vector<uint32_t> warp_steps;  // a warp: grows with each warp-collective instruction of all its lanes
extern uint32_t epoch;                    // grows with each barrier and each block
extern uint32_t first_epoch;              // of this block
extern Thread* running;

// Ends the launch: kernel, block and thread are put before the text. Called on a thread's fiber.
[[noreturn]] void Fail(const std::string& what);
[[noreturn]] void FailOf(const Thread& thread, const std::string& what);

const char* KindName(Kind kind);

}  // namespace tvmq_emulated
