#include "warp.h"

#include "device.h"
#include "errors.h"
#include "ldmatrix.h"
#include "matrix_products.h"
#include "shuffles.h"
#include "statistics.h"
#include "warpgroup.h"

namespace tvmq_emulated {

namespace {

void CheckCapability(Kind kind) {
  int needed = kind <= MMA_U8U8 ? 72 : kind <= MMA_B1_AND ? 75 : WGMMA_U8S8 <= kind && kind <= WGMMA_WAIT ? 90 : 0;
  if (Capability() < needed) {
    Fail(Format("%s needs compute capability %d.%d, and the device has %d.%d", KindName(kind), needed / 10,
                needed % 10, Capability() / 10, Capability() % 10));
  }
}

// Lanes of a warp that wait for one instruction. Once lanes waited for different ones, each arrival looks at
// all of them.
struct Arrivals {
  Kind kind;
  unsigned mask, arrived;
  bool mixed;
};
std::vector<Arrivals> arrivals;

bool SameCall(const WarpCall& a, const WarpCall& b) { return a.kind == b.kind && a.mask == b.mask; }

// Whether all lanes of the call's mask wait for it.
bool AllWait(const Thread& thread) {
  unsigned first = thread.warp() * kWarp;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!(thread.call.mask >> lane & 1)) continue;
    if (first + lane >= thread_count) return false;  // it never arrives
    const Thread& other = *threads[first + lane];
    if (other.state != State::AT_WARP || !SameCall(other.call, thread.call)) return false;
  }
  return true;
}

bool Arrive(const Thread& thread) {
  Arrivals& warp = arrivals[thread.warp()];
  if (warp.arrived == 0) {
    warp.kind = thread.call.kind;
    warp.mask = thread.call.mask;
  }
  if (warp.kind != thread.call.kind || warp.mask != thread.call.mask) warp.mixed = true;
  if (warp.mixed) return AllWait(thread);
  warp.arrived |= 1u << thread.lane();
  if (warp.arrived != warp.mask) return false;
  warp.arrived = 0;
  return true;
}

}  // namespace

void BeginWarps() { arrivals.assign(thread_count / kWarp + 1, Arrivals{}); }

void Warp(const WarpCall* call) {
  Thread& thread = *running;
  CheckCapability(call->kind);
  if (!(call->mask >> thread.lane() & 1)) {
    Fail(Format("%s: its own lane is not in the mask %#x", KindName(call->kind), call->mask));
  }
  thread.call = *call;
  thread.state = State::AT_WARP;
  if (!Arrive(thread)) {
    Wait();
    return;
  }
  unsigned first = thread.warp() * kWarp;
  Thread* lanes[kWarp];
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    lanes[lane] = call->mask >> lane & 1 ? threads[first + lane].get() : nullptr;
  }
  if (counting) CountWarp(call->kind, thread);
  if (call->kind <= MMA_B1_AND) {
    Multiply(call->kind, lanes);
  } else if (call->kind <= LDMATRIX_X4) {
    LoadMatrices(call->kind, lanes);
  } else if (call->kind < WARP_BARRIER) {
    Shuffle(call->kind, lanes);
  } else if (call->kind > WARP_BARRIER) {
    Warpgroup(call->kind, lanes);
  }
  if (call->mask == 0xffffffffu) ++warp_steps[thread.warp()];
  for (Thread* lane : lanes) {
    if (lane != nullptr) lane->state = State::READY;
  }
}

}  // namespace tvmq_emulated
