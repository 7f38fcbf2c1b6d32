#include "matrix_products.h"

#include <cstring>

namespace tvmq_emulated {

namespace {

constexpr int kRows = 16, kColumns = 8;

// The numbers of one register, low bits first.
template <int kBits, bool kSigned>
void Unpack(uint32_t word, int16_t* numbers) {
  for (int i = 0; i < 32 / kBits; ++i) {
    uint32_t bits = word >> (kBits * i) & ((1u << kBits) - 1);
    numbers[i] = kSigned ? static_cast<int16_t>(static_cast<int32_t>(bits << (32 - kBits)) >> (32 - kBits)) : bits;
  }
}

template <class Sum>
void Accumulate(Thread* const* lanes, Sum sum) {
  for (int lane = 0; lane < kWarp; ++lane) {
    auto* d = static_cast<uint32_t*>(lanes[lane]->call.d);
    for (int r = 0; r < 4; ++r) {
      d[r] += static_cast<uint32_t>(sum(lane / 4 + 8 * (r / 2), lane % 4 * 2 + r % 2));
    }
  }
}

template <int kBits, bool kSignedA, bool kSignedB>
void Products(Thread* const* lanes) {
  constexpr int kEach = 32 / kBits, kDepth = 8 * kEach;
  alignas(64) int16_t a[kRows][kDepth], b[kColumns][kDepth];
  for (int lane = 0; lane < kWarp; ++lane) {
    int group = lane / 4, member = lane % 4;
    uint32_t x[4], y[2];
    memcpy(x, lanes[lane]->call.a, sizeof x);
    memcpy(y, lanes[lane]->call.b, sizeof y);
    for (int r = 0; r < 4; ++r) {
      Unpack<kBits, kSignedA>(x[r], &a[group + 8 * (r % 2)][kEach * (member + 4 * (r / 2))]);
    }
    for (int r = 0; r < 2; ++r) Unpack<kBits, kSignedB>(y[r], &b[group][kEach * (member + 4 * r)]);
  }
  Accumulate(lanes, [&](int row, int column) {
    int32_t sum = 0;
    for (int k = 0; k < kDepth; ++k) sum += a[row][k] * b[column][k];
    return sum;
  });
}

template <bool kAnd>
void Bits(Thread* const* lanes) {
  uint32_t a[kRows][8], b[kColumns][8];
  for (int lane = 0; lane < kWarp; ++lane) {
    int group = lane / 4, member = lane % 4;
    uint32_t x[4], y[2];
    memcpy(x, lanes[lane]->call.a, sizeof x);
    memcpy(y, lanes[lane]->call.b, sizeof y);
    for (int r = 0; r < 4; ++r) a[group + 8 * (r % 2)][member + 4 * (r / 2)] = x[r];
    for (int r = 0; r < 2; ++r) b[group][member + 4 * r] = y[r];
  }
  Accumulate(lanes, [&](int row, int column) {
    int32_t sum = 0;
    for (int k = 0; k < 8; ++k) {
      sum += __builtin_popcount(kAnd ? a[row][k] & b[column][k] : a[row][k] ^ b[column][k]);
    }
    return sum;
  });
}

}  // namespace

void Multiply(Kind kind, Thread* const* lanes) {
  switch (kind) {
    case MMA_U8S8: return Products<8, false, true>(lanes);
    case MMA_S8U8: return Products<8, true, false>(lanes);
    case MMA_S8S8: return Products<8, true, true>(lanes);
    case MMA_U8U8: return Products<8, false, false>(lanes);
    case MMA_U4S4: return Products<4, false, true>(lanes);
    case MMA_S4U4: return Products<4, true, false>(lanes);
    case MMA_S4S4: return Products<4, true, true>(lanes);
    case MMA_U4U4: return Products<4, false, false>(lanes);
    case MMA_B1_XOR: return Bits<false>(lanes);
    default: return Bits<true>(lanes);
  }
}

}  // namespace tvmq_emulated
