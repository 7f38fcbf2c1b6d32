#include "ldmatrix.h"

#include <cstring>

#include "shared_memory.h"
#include "statistics.h"

namespace tvmq_emulated {

void LoadMatrices(Kind kind, Thread* const* lanes) {
  int matrices = kind == LDMATRIX_X1 ? 1 : kind == LDMATRIX_X2 ? 2 : 4;
  for (int i = 0; i < 8 * matrices; ++i) {
    CheckShared(*lanes[i], KindName(kind), lanes[i]->call.a, 16, 16);
    NoteWarpRead(*lanes[i], lanes[i]->call.a, 16);
  }
  for (int m = 0; m < matrices; ++m) {
    if (counting) CountMatrix(kind, lanes + 8 * m);
    for (int lane = 0; lane < kWarp; ++lane) {
      const auto* row = static_cast<const char*>(lanes[8 * m + lane / 4]->call.a);
      memcpy(static_cast<char*>(lanes[lane]->call.d) + 4 * m, row + 4 * (lane % 4), 4);
    }
  }
}

}  // namespace tvmq_emulated
