#include "shuffles.h"

#include <cstring>

namespace tvmq_emulated {

void Shuffle(Kind kind, Thread* const* lanes) {
  for (int lane = 0; lane < kWarp; ++lane) {
    if (lanes[lane] == nullptr) continue;
    const WarpCall& call = lanes[lane]->call;
    int first = lane / call.width * call.width, end = first + call.width, from = lane;
    switch (kind) {
      case SHUFFLE:
        from = first + (call.parameter & (call.width - 1));
        break;
      case SHUFFLE_XOR:
        from = lane ^ call.parameter;
        break;
      case SHUFFLE_DOWN:
        from = lane + call.parameter;
        break;
      default:
        from = lane - call.parameter;
        break;
    }
    if (from >= end || from < (kind == SHUFFLE_XOR ? 0 : first)) from = lane;
    if (lanes[from] == nullptr) {
      memset(call.d, 0xCD, call.bytes);  // undefined; TVM's reductions of a part of a warp do not use it
    } else {
      memcpy(call.d, lanes[from]->call.a, call.bytes);
    }
  }
}

}  // namespace tvmq_emulated
