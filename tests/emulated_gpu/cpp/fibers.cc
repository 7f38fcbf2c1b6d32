#include "fibers.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

// -DTVMQ_UCONTEXT: the way of other machines, to test it here.
#if defined(__x86_64__) && !defined(TVMQ_UCONTEXT)
#define TVMQ_ASSEMBLY 1
#else
#define TVMQ_ASSEMBLY 0
#endif

#if !TVMQ_ASSEMBLY
#include <ucontext.h>
#endif

namespace tvmq_emulated {

void* Fiber::resumer_ = nullptr;

#if TVMQ_ASSEMBLY

// Saves the registers that a call preserves, and the stack they lie on, at *from; goes on with those of `to`.
extern "C" void tvmq_switch(void** from, void* to);
asm(R"(
.text
.local tvmq_switch
.type tvmq_switch, @function
tvmq_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size tvmq_switch, . - tvmq_switch
)");

void Fiber::Start(void (*entry)()) {
  auto** top = reinterpret_cast<void**>(top_);
  *--top = nullptr;  // the return address of entry, which aligns the stack as a call does
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  own_ = top;
}

void Fiber::Resume() { tvmq_switch(&resumer_, own_); }
void Fiber::Yield() { tvmq_switch(&own_, resumer_); }
void Fiber::GoOnWith(Fiber& other) { tvmq_switch(&own_, other.own_); }

#else

void Fiber::Start(void (*entry)()) {
  if (own_ == nullptr) own_ = new ucontext_t;
  if (resumer_ == nullptr) resumer_ = new ucontext_t;
  auto* context = static_cast<ucontext_t*>(own_);
  getcontext(context);
  context->uc_stack.ss_sp = stack_ + kGuard;
  context->uc_stack.ss_size = top_ - stack_ - kGuard;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
}

void Fiber::Resume() { swapcontext(static_cast<ucontext_t*>(resumer_), static_cast<ucontext_t*>(own_)); }
void Fiber::Yield() { swapcontext(static_cast<ucontext_t*>(own_), static_cast<ucontext_t*>(resumer_)); }
void Fiber::GoOnWith(Fiber& other) {
  swapcontext(static_cast<ucontext_t*>(own_), static_cast<ucontext_t*>(other.own_));
}

#endif

Fiber::Fiber() {
  void* memory =
      mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<char*>(memory);
  static unsigned count = 0;
  top_ = stack_ + kStack - 192 * (count++ % 43);
  mprotect(stack_, kGuard, PROT_NONE);
}

Fiber::~Fiber() {
  munmap(stack_, kStack);
#if !TVMQ_ASSEMBLY
  delete static_cast<ucontext_t*>(own_);
#endif
}

bool Fiber::Overflows(const void* address) const {
  auto offset = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(stack_);
  return offset < kGuard;
}

}  // namespace tvmq_emulated
