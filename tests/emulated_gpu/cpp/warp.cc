#include "warp.h"

#include "device.h"
#include "errors.h"
#include "ldmatrix.h"
#include "matrix_products.h"
#include "shuffles.h"
#include "statistics.h"

namespace tvmq_emulated {

namespace {

void CheckCapability(Kind kind) {
  int needed = 0;
  if (kind <= MMA_U8U8) needed = 72;
  else if (kind <= MMA_B1_AND) needed = 75;
  if (Capability() < needed) {
    Fail(Format("%s needs compute capability %d.%d, and the device has %d.%d", KindName(kind), needed / 10, needed % 10,
                Capability() / 10, Capability() % 10));
  }
}

}  // namespace

void Warp(const WarpCall* call) {
  Thread& thread = *running;
  CheckCapability(call->kind);
  if (!(call->mask >> thread.lane() & 1)) Fail(Format("%s: its own lane is not in the mask %#x", KindName(call->kind), call->mask));
  thread.call = *call;
  thread.state = State::AT_WARP;
  thread.site = __builtin_return_address(0);
  // The lanes of the mask; of the rest of a warp at the end of a block nobody ever arrives.
  unsigned first = thread.warp() * kWarp;
  Thread* lanes[kWarp] = {};
  bool all = true;
  for (unsigned lane = 0; lane < kWarp && all; ++lane) {
    if (!(call->mask >> lane & 1)) continue;
    if (first + lane >= thread_count) {
      all = false;
      break;
    }
    lanes[lane] = threads[first + lane].get();
    all = lanes[lane]->state == State::AT_WARP && lanes[lane]->call.kind == call->kind && lanes[lane]->call.mask == call->mask;
  }
  if (!all) {
    thread.fiber.Yield();
    return;
  }
  if (counting) CountWarp(call->kind, thread);
  if (call->kind <= MMA_B1_AND) Multiply(call->kind, lanes);
  else if (call->kind <= LDMATRIX_X4) LoadMatrices(call->kind, lanes);
  else if (call->kind < WARP_BARRIER) Shuffle(call->kind, lanes);
  if (call->mask == 0xffffffffu) ++warp_steps[thread.warp()];
  for (Thread* lane : lanes) {
    if (lane != nullptr) lane->state = State::READY;
  }
}

}  // namespace tvmq_emulated
