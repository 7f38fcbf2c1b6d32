#include "block.h"

#include <csetjmp>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "copies.h"
#include "device.h"
#include "errors.h"
#include "global_access.h"
#include "memory.h"
#include "shared_memory.h"
#include "statistics.h"
#include "warp.h"
#include "warpgroup.h"

namespace tvmq_emulated {

const Launch* launch = nullptr;
std::vector<std::unique_ptr<Thread>> threads;
unsigned thread_count = 0;
std::vector<uint32_t> warp_steps;
uint32_t epoch = 1, first_epoch = 1;
Thread* running = nullptr;

namespace {

std::string error;  // of this launch
std::mutex mutex;   // one launch at a time

std::string Place() {
  const Index& block = threads[0]->view.block;
  return Format("kernel %s, block (%u,%u,%u): ", launch->kernel->name, block.x, block.y, block.z);
}

void Enter() {
  launch->kernel->run(launch->arguments);
  ArriveAll(*running);
  running->state = State::LEFT;
  Wait();
  abort();  // nobody resumes who has left
}

void Barrier() {
  CountCollective(BARRIER, *running);
  running->site = __builtin_return_address(0);
  running->state = State::AT_BARRIER;
  Wait();
}

unsigned ActiveMask() {
  running->site = __builtin_return_address(0);
  running->state = State::AT_ACTIVE_MASK;
  Wait();
  return running->mask;
}

std::string Doing(const Thread& thread) {
  switch (thread.state) {
    case State::LEFT:
      return "left";
    case State::AT_BARRIER:
      return "waits at a barrier";
    case State::AT_WARP:
      return std::string("waits at ") + KindName(thread.call.kind);
    default:
      return "runs";
  }
}

// Nobody can go on: says who waits for whom.
std::string Deadlock() {
  for (unsigned i = 0; i < thread_count; ++i) {
    const Thread& waiting = *threads[i];
    if (waiting.state != State::AT_WARP) continue;
    unsigned first = waiting.warp() * kWarp;
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if (!(waiting.call.mask >> lane & 1)) continue;
      if (first + lane >= thread_count) {
        return Place() + Format(
                             "thread %u waits at %s, which needs all 32 lanes of its warp, but the block "
                             "ends with thread %u",
                             i, KindName(waiting.call.kind), thread_count - 1);
      }
      const Thread& other = *threads[first + lane];
      if (other.state == State::AT_WARP && other.call.kind == waiting.call.kind) continue;
      return Place() + Format("thread %u %s, while thread %u of its warp waits at %s", other.number,
                              Doing(other).c_str(), i, KindName(waiting.call.kind));
    }
  }
  for (unsigned i = 0; i < thread_count; ++i) {
    if (threads[i]->state != State::LEFT) continue;
    for (unsigned j = 0; j < thread_count; ++j) {
      if (threads[j]->state == State::AT_BARRIER) {
        return Place() + Format("thread %u left, while thread %u waits at a barrier", i, j);
      }
    }
  }
  return Place() + "no thread can go on";
}

// Those of a warp that wait for it at one call are active together. Whether there were any.
bool GiveActiveMasks() {
  bool any = false;
  for (unsigned i = 0; i < thread_count; ++i) {
    Thread& first = *threads[i];
    if (first.state != State::AT_ACTIVE_MASK) continue;
    any = true;
    unsigned mask = 0;
    unsigned end = std::min(thread_count, (first.warp() + 1) * kWarp);
    for (unsigned j = i; j < end; ++j) {
      if (threads[j]->state == State::AT_ACTIVE_MASK && threads[j]->site == first.site)
        mask |= 1u << threads[j]->lane();
    }
    for (unsigned j = end; j-- > i;) {
      if (!(mask >> threads[j]->lane() & 1)) continue;
      threads[j]->mask = mask;
      threads[j]->state = State::READY;
    }
  }
  return any;
}

bool OpenBarrier() {
  for (unsigned i = 0; i < thread_count; ++i) {
    if (threads[i]->state != State::AT_BARRIER) return false;
  }
  ++epoch;
  for (unsigned i = 0; i < thread_count; ++i) threads[i]->state = State::READY;
  return true;
}

bool AllLeft() {
  for (unsigned i = 0; i < thread_count; ++i) {
    if (threads[i]->state != State::LEFT) return false;
  }
  return true;
}

void Resume(Thread& thread) {
  running = &thread;
  machine.current = &thread.view;
  thread.fiber.Resume();
}

// Runs one warp until no lane of it can go on.
void RunWarp(unsigned first) {
  unsigned end = std::min(thread_count, first + kWarp);
  for (unsigned i = first; i < end;) {
    if (threads[i]->state != State::READY) {
      ++i;
      continue;
    }
    Resume(*threads[i]);
    if (!error.empty()) return;
    i = first;
  }
}

void RunBlock(Index block) {
  first_epoch = ++epoch;
  Index at = {0, 0, 0};
  for (unsigned i = 0; i < thread_count; ++i) {
    Thread& thread = *threads[i];
    memset(&thread.view, 0, sizeof thread.view);
    thread.view.thread = at;
    thread.view.block = block;
    thread.view.block_size = launch->block;
    thread.view.grid_size = launch->grid;
    thread.state = State::READY;
    thread.open.clear();
    thread.groups.clear();
    thread.fiber.Start(Enter);
    if (++at.x == launch->block.x) at.x = 0, ++at.y;
    if (at.y == launch->block.y) at.y = 0, ++at.z;
  }
  BeginShared(launch->dynamic_bytes);
  BeginWarps();
  BeginWarpgroups();
  while (true) {
    for (unsigned first = 0; first < thread_count; first += kWarp) {
      RunWarp(first);
      if (!error.empty()) return ForgetShared();
    }
    if (GiveActiveMasks() || OpenBarrier()) continue;
    if (AllLeft()) break;
    error = Deadlock();
    return ForgetShared();
  }
  CountBlock();
}

// ---- Addresses that are not mapped ----

struct sigaction former_segv, former_bus;

void OnSignal(int number, siginfo_t* info, void*) {
  if (running == nullptr) {  // not of a kernel: as if we were not there
    sigaction(number, number == SIGSEGV ? &former_segv : &former_bus, nullptr);
    return;
  }
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  if (running->fiber.Overflows(info->si_addr)) Fail("needs more than 256 KB of stack");
  Fail(Format("accesses %p, which is in no memory or not aligned", info->si_addr));
}

// While a launch runs, a signal ends the launch and not the process. Handlers run on a stack of their own.
class Signals {
 public:
  Signals() {
    static char* memory = static_cast<char*>(malloc(kStack));
    stack_t stack = {};
    stack.ss_sp = memory;
    stack.ss_size = kStack;
    sigaltstack(&stack, &former_stack_);
    struct sigaction action = {};
    action.sa_sigaction = OnSignal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &former_segv);
    sigaction(SIGBUS, &action, &former_bus);
  }
  ~Signals() {
    sigaction(SIGSEGV, &former_segv, nullptr);
    sigaction(SIGBUS, &former_bus, nullptr);
    sigaltstack(&former_stack_, nullptr);
  }

 private:
  static constexpr size_t kStack = 256 << 10;
  stack_t former_stack_ = {};
};

void FailText(const char* what) { Fail(what); }

}  // namespace

Machine machine = {nullptr,    Warp,        Barrier,       ActiveMask,    SharedLoad,  SharedStore,
                   GlobalLoad, GlobalStore, CopyAsync,     CopyCommit,    CopyWait,    SharedFence,   AtomicAdd,
                   FailText,   GlobalRange, GlobalOutside, DynamicShared, StaticShared};

void FailOf(const Thread& thread, const std::string& what) {
  error = Place() +
          Format("thread %u (%u,%u,%u) ", thread.number, thread.view.thread.x, thread.view.thread.y,
                 thread.view.thread.z) +
          what;
  running->fiber.Yield();
  abort();
}

void Wait() {
  Thread& thread = *running;
  unsigned next = thread.number + 1;
  if (next % kWarp == 0 || next == thread_count || threads[next]->state != State::READY)
    return thread.fiber.Yield();
  running = threads[next].get();
  machine.current = &running->view;
  thread.fiber.GoOnWith(running->fiber);
}

void Fail(const std::string& what) { FailOf(*running, what); }

const char* KindName(Kind kind) {
  static const char* const names[KINDS] = {
      "mma_u8s8",    "mma_s8u8",    "mma_s8s8",    "mma_u8u8",     "mma_u4s4",    "mma_s4u4",
      "mma_s4s4",    "mma_u4u4",    "mma_b1_xor",  "mma_b1_and",   "ldmatrix_x1", "ldmatrix_x2",
      "ldmatrix_x4", "shuffle",     "shuffle_xor", "shuffle_down", "shuffle_up",  "warp_barrier",
      "wgmma_u8s8",  "wgmma_s8u8",  "wgmma_s8s8",  "wgmma_u8u8",   "wgmma_fence", "wgmma_commit",
      "wgmma_wait",  "barrier",     "active_mask", "shared_load", "shared_store", "load",        "load_const",
      "store",       "copy_async",  "copy_commit", "copy_wait",    "atomic_add"};
  return names[kind];
}

std::string Run(const Launch& asked) {
  std::lock_guard<std::mutex> lock(mutex);
  launch = &asked;
  error.clear();
  thread_count = asked.block.x * asked.block.y * asked.block.z;
  while (threads.size() < thread_count) {
    threads.push_back(std::make_unique<Thread>());
    threads.back()->number = threads.size() - 1;
  }
  warp_steps.resize(threads.size() / kWarp + 1, 1);
  ReadCapability();
  BeginGlobal();
  BeginStatistics();
  Signals signals;
  Index block;
  for (block.z = 0; block.z < asked.grid.z && error.empty(); ++block.z) {
    for (block.y = 0; block.y < asked.grid.y && error.empty(); ++block.y) {
      for (block.x = 0; block.x < asked.grid.x && error.empty(); ++block.x) RunBlock(block);
    }
  }
  running = nullptr;
  std::string canary = BrokenCanary();
  if (error.empty() && !canary.empty()) error = Format("kernel %s: ", asked.kernel->name) + canary;
  EndStatistics();
  return error;
}

}  // namespace tvmq_emulated
