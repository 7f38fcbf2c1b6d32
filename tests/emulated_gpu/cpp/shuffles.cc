#include "shuffles.h"

#include <cstring>

#include "errors.h"

namespace tvmq_emulated {

void Shuffle(Kind kind, Thread* const* lanes) {
  for (int lane = 0; lane < kWarp; ++lane) {
    if (lanes[lane] == nullptr) continue;
    const WarpCall& call = lanes[lane]->call;
    int first = lane / call.width * call.width, end = first + call.width, from = lane;
    switch (kind) {
      case SHUFFLE: from = first + (call.parameter & (call.width - 1)); break;
      case SHUFFLE_XOR: from = lane ^ call.parameter; break;
      case SHUFFLE_DOWN: from = lane + call.parameter; break;
      default: from = lane - call.parameter; break;
    }
    if (from < first && kind != SHUFFLE_XOR) from = lane;
    if (from >= end) from = lane;
    if (from < 0 || lanes[from] == nullptr) {
      FailOf(*lanes[lane], Format("%s: reads lane %d, which is not in the mask %#x", KindName(kind), from, call.mask));
    }
    memcpy(call.d, lanes[from]->call.a, call.bytes);
  }
}

}  // namespace tvmq_emulated
