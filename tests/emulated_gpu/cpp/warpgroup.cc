#include "warpgroup.h"

#include <cstring>

#include "device.h"
#include "errors.h"
#include "shared_memory.h"
#include "statistics.h"

namespace tvmq_emulated {

namespace {

constexpr int kRows = 16, kDepth = 32, kPiece = 16;

struct Product {
  Kind kind;
  int32_t* d[kWarp];
  const char *a, *b;
  int columns, depth;
};

struct Products {
  bool fenced = false;  // wgmma_fence since the last wait
  std::vector<Product> open;
  std::deque<std::vector<Product>> groups;
};
std::vector<Products> warps;

const char* base;  // of the block's shared memory

// Byte `place` of line `line`, where the product begins at `first`.
const char* Place(const char* first, int depth, int line, int place) {
  unsigned linear = static_cast<unsigned>(first - base) + line * depth + place;
  unsigned mask = (depth / kPiece - 1) << 4;
  return base + (linear ^ (linear >> 3 & mask));
}

void CheckOperand(const Thread& thread, const char* what, const char* first, int depth, int lines, int offset) {
  unsigned begin = static_cast<unsigned>(first - base);
  if (begin % depth % kDepth != 0 || begin / depth % 8 != 0) {
    FailOf(thread, Format("%s: an operand begins at byte %u, not at 32 bytes of a line whose number 8 divides", what, begin));
  }
  for (int line = 0; line < lines; ++line) {
    for (int piece = 0; piece < kDepth; piece += kPiece) {
      const char* place = Place(first, depth, offset + line, piece);
      CheckShared(thread, what, place, kPiece, kPiece);
      NoteWarpRead(thread, place, kPiece);
    }
  }
}

int Number(const char* place, bool is_signed) {
  return is_signed ? *reinterpret_cast<const signed char*>(place) : *reinterpret_cast<const unsigned char*>(place);
}

void Make(const Product& product, unsigned warp) {
  bool signed_a = product.kind == WGMMA_S8S8 || product.kind == WGMMA_S8U8;
  bool signed_b = product.kind == WGMMA_S8S8 || product.kind == WGMMA_U8S8;
  int16_t a[kRows][kDepth], b[kDepth];
  for (int row = 0; row < kRows; ++row) {
    for (int k = 0; k < kDepth; ++k) {
      a[row][k] = Number(Place(product.a, product.depth, warp % 4 * kRows + row, k), signed_a);
    }
  }
  for (int column = 0; column < product.columns; ++column) {
    for (int k = 0; k < kDepth; ++k) b[k] = Number(Place(product.b, product.depth, column, k), signed_b);
    for (int row = 0; row < kRows; ++row) {
      int32_t sum = 0;
      for (int k = 0; k < kDepth; ++k) sum += a[row][k] * b[k];
      int lane = row % 8 * 4 + column % 8 / 2;
      auto& d = reinterpret_cast<uint32_t&>(product.d[lane][column / 8 * 4 + row / 8 * 2 + column % 2]);
      d += static_cast<uint32_t>(sum);
    }
  }
}

struct Unfenced {
  bool any;
  uint32_t epoch;
};
std::vector<Unfenced> unfenced;

void CheckFences(const Thread& thread) {
  for (unsigned i = 0; i < thread_count; ++i) {
    if (unfenced[i].any && unfenced[i].epoch < epoch) {
      FailOf(thread, Format("%s reads shared memory, to which thread %u wrote without shared_fence before the barrier",
                            KindName(thread.call.kind), i));
    }
  }
}

}  // namespace

void BeginWarpgroups() {
  warps.assign(thread_count / kWarp + 1, Products());
  unfenced.assign(thread_count, Unfenced{false, 0});
  base = static_cast<const char*>(DynamicShared());
}

void NoteOrdinaryWrite(Thread& thread) {
  if (!unfenced[thread.number].any) unfenced[thread.number] = {true, epoch};
}

void SharedFence() { unfenced[running->number].any = false; }

void Warpgroup(Kind kind, Thread* const* lanes) {
  const Thread& thread = *lanes[0];
  Products& warp = warps[thread.warp()];
  if (thread_count % 128 != 0) Fail(Format("%s needs blocks of whole groups of 128 threads", KindName(kind)));
  if (kind == WGMMA_FENCE) {
    warp.fenced = true;
  } else if (kind == WGMMA_COMMIT) {
    warp.groups.push_back(std::move(warp.open));
    warp.open.clear();
  } else if (kind == WGMMA_WAIT) {
    while (warp.groups.size() > static_cast<size_t>(thread.call.parameter)) {
      for (const Product& product : warp.groups.front()) Make(product, thread.warp());
      warp.groups.pop_front();
    }
    warp.fenced = false;
  } else {
    if (!warp.fenced) Fail(Format("%s without wgmma_fence since the last wait", KindName(kind)));
    CheckFences(thread);
    Product product;
    product.kind = kind;
    product.a = static_cast<const char*>(thread.call.a);
    product.b = static_cast<const char*>(thread.call.b);
    product.columns = thread.call.parameter;
    product.depth = thread.call.bytes;
    for (int lane = 0; lane < kWarp; ++lane) {
      product.d[lane] = static_cast<int32_t*>(lanes[lane]->call.d);
      if (lanes[lane]->call.a != thread.call.a || lanes[lane]->call.b != thread.call.b) {
        Fail(Format("%s: lanes of a warp give different operands", KindName(kind)));
      }
    }
    CheckOperand(thread, KindName(kind), product.a, product.depth, kRows, thread.warp() % 4 * kRows);
    CheckOperand(thread, KindName(kind), product.b, product.depth, product.columns, 0);
    warp.open.push_back(product);
  }
}

}  // namespace tvmq_emulated
